//! What the liar can say in phases 0 to 2, and what its records can rest on.

use std::sync::Arc;

use fedswarm_protocol::derive::Position;
use fedswarm_protocol::envelope::{Kind, Verified};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::membership::Committee;
use fedswarm_protocol::merge::Merged;
use fedswarm_protocol::message::{Message, Proposal, Receipt, RecordBody, UpdateHeader, UpdateRef};
use fedswarm_protocol::record::list_root;

use crate::network::Network;

/// What becomes of an update of the liar where its header arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its payload can arrive, and is good.
    Good,
    /// Its payload can arrive, and is what was signed for, but no valid update.
    Bad,
    /// It starts from another record than the parent.
    Stale,
}

/// How a Byzantine aggregator alters the inputs of its record. Everything else in the record follows from the altered inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// Not at all.
    None,
    /// The first is left out.
    DropFirst,
    /// The last is left out.
    DropLast,
    /// An update is added that too few receipts list, or none.
    Add(usize),
}

/// All lies; the numbers after `Add` are of [`Words::spare`].
pub(super) const LIES: [Lie; 7] =
    [Lie::None, Lie::DropFirst, Lie::DropLast, Lie::Add(0), Lie::Add(1), Lie::Add(2), Lie::Add(3)];

/// A network with one liar.
pub(super) struct Words {
    pub(super) network: Network,
    pub(super) liar: u16,
    pub(super) honest: Vec<u16>,
    /// Updates that the liar signs.
    pub(super) updates: Vec<(Verified, Fate)>,
    /// Receipts that it signs.
    pub(super) receipts: Vec<Verified>,
    /// Updates that a lying aggregator may add, if their author is not there: the liar's, and one that nobody has.
    spare: Vec<UpdateRef>,
    committee: Arc<Committee>,
}

/// How an update is named.
pub(super) fn name(update: &Verified) -> UpdateRef {
    (update.author(), update.statement())
}

/// What a receipt lists.
pub(super) fn items(receipt: &Verified) -> &[UpdateRef] {
    let Message::Receipt(receipt) = receipt.message() else { unreachable!("not a receipt") };
    &receipt.items
}

impl Words {
    /// The liar is the aggregator of view 0, or of view 1.
    pub(super) fn new(liar_aggregates: bool) -> Self {
        let network = Network::new(1, &[u32::from(!liar_aggregates)], 4);
        let (liar, honest) = (network.byzantine[0], network.honest());
        let update =
            |header: UpdateHeader| network.sign(liar, &network.slot(Kind::Update, 0), &Message::Update(header));
        let stale = UpdateHeader { base: Digest([3; 32]), ..network.header(liar) };
        let updates = vec![
            (update(network.header(liar)), Fate::Good),
            (update(network.altered_header(liar, 77)), Fate::Good),
            (update(stale), Fate::Stale),
            (update(network.altered_header(liar, 78)), Fate::Bad),
        ];
        let own = |number: usize| name(&updates[number].0);
        let others: Vec<UpdateRef> = honest.iter().map(|h| name(&network.update(*h))).collect();
        let invented = |author: u16| (author, Digest([4; 32]));
        let lists: [Vec<UpdateRef>; 6] = [
            // It claims everything, with one of its updates or the other.
            others.iter().copied().chain([own(0)]).collect(),
            others.iter().copied().chain([own(1)]).collect(),
            // It withholds everything; everything but its own.
            Vec::new(),
            vec![own(0)],
            // It claims what nobody can have: the stale one, and updates that were never made.
            vec![invented(honest[0]), own(2)],
            vec![others[0], invented(honest[1]), own(3)],
        ];
        let receipt = |mut items: Vec<UpdateRef>| {
            items.sort_unstable();
            network.sign(
                liar,
                &network.slot(Kind::Receipt, 0),
                &Message::Receipt(Receipt { items, artefacts: Vec::new() }),
            )
        };
        Self {
            receipts: lists.map(receipt).into(),
            spare: vec![own(0), own(1), own(2), invented(honest[0])],
            committee: Arc::clone(network.machine(liar).committee()),
            updates,
            honest,
            liar,
            network,
        }
    }

    /// Whether an update starts from another record than the parent.
    pub(super) fn is_stale(&self, update: &UpdateRef) -> bool {
        self.updates.iter().any(|(known, fate)| *fate == Fate::Stale && name(known) == *update)
    }

    /// The inputs that receipts force, worked out author by author from the words of the design: one update that at least
    /// `f + 1` of them list, unless the author has two such updates or is evicted.
    pub(super) fn forced(&self, receipts: &[&Verified], evicted: bool) -> Vec<UpdateRef> {
        self.listed_by(receipts, self.network.quorum().faulty + 1, evicted)
    }

    /// The same with another number than `f + 1`.
    pub(super) fn listed_by(&self, receipts: &[&Verified], enough: usize, evicted: bool) -> Vec<UpdateRef> {
        let receipts: Vec<&[UpdateRef]> = receipts.iter().map(|r| items(r)).collect();
        let of = |author: u16| {
            let listed = receipts.iter().flat_map(|r| r.iter()).filter(|item| item.0 == author);
            let mut candidates: Vec<UpdateRef> = Vec::new();
            for item in listed {
                let count = receipts.iter().filter(|r| r.contains(item)).count();
                if count >= enough && !candidates.contains(item) {
                    candidates.push(*item);
                }
            }
            let [only] = candidates.as_slice() else { return None };
            (!evicted || author != self.liar).then_some(*only)
        };
        self.network.voters().filter_map(of).collect()
    }

    /// What a lying aggregator makes of the forced inputs; nothing if the lie is none.
    pub(super) fn altered(&self, mut inputs: Vec<UpdateRef>, lie: Lie) -> Option<Vec<UpdateRef>> {
        match lie {
            Lie::None => {}
            Lie::DropFirst if inputs.is_empty() => return None,
            Lie::DropFirst => drop(inputs.remove(0)),
            // With one input it is the first one, too.
            Lie::DropLast if inputs.len() < 2 => return None,
            Lie::DropLast => drop(inputs.pop()),
            Lie::Add(number) => {
                let added = *self.spare.get(number)?;
                if inputs.contains(&added) {
                    return None;
                }
                inputs.retain(|input| input.0 != added.0);
                inputs.push(added);
                inputs.sort_unstable();
            }
        }
        Some(inputs)
    }

    /// The proposal of view 0's aggregator with these receipts and inputs. Nothing else in it is wrong.
    pub(super) fn proposal(&self, receipts: &[&Verified], inputs: Vec<UpdateRef>) -> Verified {
        let network = &self.network;
        let rules = network.rules(0);
        let position = Position {
            constants: &rules.constants,
            head: &rules.genesis,
            head_hash: rules.genesis_hash,
            artefact: None,
            committee: &self.committee,
            order: network.order(),
        };
        let mut named: Vec<UpdateRef> = receipts.iter().map(|r| name(r)).collect();
        named.sort_unstable();
        let merged = || Merged::model(hash("merged", list_root("inputs", &inputs).as_bytes()));
        let merged = rules.constants.is_enough(inputs.len(), &self.committee).then(merged);
        let leader = network.leader(0);
        let body = RecordBody { receipts: named, inputs, ..RecordBody::default() };
        let (record, _) = position.record(&body, merged.as_ref(), leader, 0).unwrap();
        let proposal = Proposal { record, body, notarized_in: None };
        network.sign(leader, &network.slot(Kind::Proposal, 0), &Message::Proposal(Box::new(proposal)))
    }
}
