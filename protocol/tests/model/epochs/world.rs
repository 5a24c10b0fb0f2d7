//! Four founders, a newcomer, and one liar among the five; what they sign, and who can open it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fedswarm_protocol::certificate::Certificate;
use fedswarm_protocol::envelope::{Kind, NOBODY, Slot, Verified, Verifier, seal_with};
use fedswarm_protocol::evidence::{EquivocationProof, SignedStatement};
use fedswarm_protocol::hash::{Digest, hash};
use fedswarm_protocol::keys::{PublicKey, Scheme as _, SecretKey};
use fedswarm_protocol::manifest::Manifest;
use fedswarm_protocol::membership::{Committee, Invite, Join, Operation, Role};
use fedswarm_protocol::message::{Message, Receipt, UpdateHeader};
use fedswarm_protocol::round::Rules;
use fedswarm_protocol::tensor::TensorSpec;
use fedswarm_protocol::{codec, election, envelope};

use crate::common::testing;
use crate::network::Seals;

use super::peer::Mutant;

/// The last round that is explored: one that takes the newcomer in, one that evicts the liar, and one after that.
pub(super) const ROUNDS: u64 = 3;

/// The newcomer's number; founders are numbered by place.
pub(super) const NEWCOMER: usize = 4;

/// Who obeys no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liar {
    /// The founder that aggregates view 0 of the first round.
    FirstAggregator,
    /// Another founder.
    Founder,
    /// The one that joins.
    Newcomer,
}

pub(super) struct World {
    keys: Vec<SecretKey>,
    rules: Vec<Arc<Rules>>,
    pub(super) founding: Arc<Committee>,
    pub(super) network: Digest,
    pub(super) liar: usize,
    pub(super) honest: Vec<usize>,
    /// Views that are explored; what machines say in later ones is dropped.
    pub(super) views: u32,
    /// The rule that honest members break.
    pub(super) mutant: Option<Mutant>,
    /// What can be passed on to an aggregator: the newcomer's request, and a proof against the liar.
    pub(super) operations: [Operation; 2],
    /// Messages by bytes and by the committees that they were opened under: signatures of requests are slow.
    opened: Mutex<BTreeMap<(Digest, Digest), Option<Verified>>>,
}

impl World {
    pub(super) fn new(liar: Liar, views: u32, mutant: Option<Mutant>) -> Self {
        let (manifest, mut keys) = testing::network(4, vec![TensorSpec::new("w", &[4], 4)]);
        // Epochs end with operations only.
        let manifest = Manifest { epoch_length: 1000, ..manifest };
        // In the middle of the founders, so that places of others change with it.
        let network = manifest.network_id().unwrap();
        // Of a lying one somebody else aggregates the first round with it, because it would not evict itself.
        let second = election::order(&election::first_seed(&network, 1), (0..5).collect());
        let first = election::leader(&second, 2, 0).filter(|_| liar == Liar::Newcomer).map(usize::from);
        let place = |key: &SecretKey| keys.partition_point(|k| k.public() < key.public());
        let middle = |key: &SecretKey| (1..4).contains(&place(key)) && Some(place(key)) != first;
        let newcomer = (50..).map(|i| SecretKey::from_bytes(&[i; 32])).find(middle).unwrap();
        let founding = Arc::new(Committee::founding(&manifest));
        keys.push(newcomer);
        let rules: Vec<_> = keys.iter().map(|k| Arc::new(Rules::new(&manifest, &k.public()).unwrap())).collect();
        let order = founding.order(&rules[0].genesis.next_seeds().0);
        let leads = |view: u32| usize::from(election::leader(&order, 1, view).unwrap());
        let liar = match liar {
            Liar::FirstAggregator => leads(0),
            Liar::Founder => leads(2),
            Liar::Newcomer => NEWCOMER,
        };
        let sponsor = (0..4).find(|founder| *founder != liar).unwrap();
        let ticket = SecretKey::from_bytes(&[40; 32]);
        let invite = Invite::new(&network, &keys[sponsor], ticket.public(), Role::Voter, 100);
        let join = Join::new(&network, invite, &ticket, &keys[NEWCOMER], "newcomer".into());
        let slot = Slot { kind: Kind::Notarize, epoch: 0, round: 99, view: 0 };
        let lie = |body: u8| SignedStatement::sign(&keys[liar], &network, &slot, Digest([body; 32]));
        let proof = EquivocationProof { author: keys[liar].public(), statements: [lie(1), lie(2)] };
        Self {
            honest: (0..5).filter(|who| *who != liar).collect(),
            operations: [Operation::Join(Box::new(join)), Operation::Evict(Box::new(proof))],
            opened: Mutex::default(),
            founding,
            network,
            mutant,
            rules,
            views,
            liar,
            keys,
        }
    }

    pub(super) fn rules(&self, who: usize) -> &Arc<Rules> {
        &self.rules[who]
    }

    pub(super) fn key(&self, who: usize) -> PublicKey {
        self.keys[who].public()
    }

    /// A member's place in a committee.
    pub(super) fn place(&self, committee: &Committee, who: usize) -> Option<u16> {
        committee.place(&self.key(who))
    }

    pub(super) fn seal(&self, who: usize, place: u16, slot: &Slot, message: &Message) -> Vec<u8> {
        seal_with(&Seals, &self.keys[who], &self.network, slot, place, message).unwrap()
    }

    /// What somebody who has been through these committees makes of bytes; nothing if they are no message to it.
    pub(super) fn open(&self, committees: &[Arc<Committee>], bytes: &[u8]) -> Option<Verified> {
        let known = &committees[committees.len().saturating_sub(2)..];
        let roots: Vec<u8> = known.iter().flat_map(|committee| committee.root().0).collect();
        let key = (hash("bytes", bytes), hash("roots", &roots));
        if let Some(opened) = self.opened.lock().unwrap().get(&key) {
            return opened.clone();
        }
        let mut verifier = Verifier::new(self.network, Arc::clone(&known[0])).with_scheme(Arc::new(Seals));
        known[1..].iter().for_each(|committee| verifier.advance(Arc::clone(committee)));
        let opened = verifier.open(bytes).ok();
        self.opened.lock().unwrap().insert(key, opened.clone());
        opened
    }

    /// A vote of a voter of this committee, as whoever knows the committee sees it.
    pub(super) fn vote(&self, committee: &Arc<Committee>, who: usize, slot: &Slot, record: Digest) -> Verified {
        let place = self.place(committee, who).expect("no member");
        self.open(&[Arc::clone(committee)], &self.seal(who, place, slot, &Message::Vote(record))).expect("no vote")
    }

    /// A certificate with the votes of these members.
    pub(super) fn certificate(
        &self,
        committee: &Committee,
        signers: &[usize],
        slot: &Slot,
        record: Digest,
    ) -> Certificate {
        let said = envelope::signed_bytes(&self.network, slot, &codec::encode(&record).unwrap());
        let place = |who: &usize| self.place(committee, *who);
        let sign = |who: &usize| Some((place(who)?, Seals.sign(&self.keys[*who], &said)));
        let mut votes: Vec<_> = signers.iter().filter_map(sign).collect();
        votes.sort_by_key(|vote| vote.0);
        let Slot { kind, epoch, round, view } = *slot;
        Certificate { kind, epoch, round, view, record, votes }
    }

    /// Bytes of a message that proves itself.
    pub(super) fn proof(&self, slot: &Slot, message: &Message) -> Vec<u8> {
        self.seal(0, NOBODY, slot, message)
    }

    /// The update of a member for a round; what was trained does not matter.
    pub(super) fn header(&self, who: usize, round: u64, base: Digest) -> UpdateHeader {
        let rules = &self.rules[who];
        let root = hash("payload", &[who as u8, round as u8]);
        UpdateHeader {
            base,
            schema: rules.schema,
            payload_root: root,
            wire_root: root,
            wire_len: rules.wire_len.least(),
            codec: rules.codec,
            samples: 10,
            norm2_q: 0,
        }
    }

    /// Phases 0 to 2 of a round without disturbance: everybody's update, and everybody's receipt for all of them.
    pub(super) fn first_phases(&self, committee: &Arc<Committee>, round: u64, base: Digest) -> Vec<Verified> {
        let members: Vec<usize> = (0..5).filter(|who| self.place(committee, *who).is_some()).collect();
        let slot = |kind| Slot { kind, epoch: committee.epoch, round, view: 0 };
        let say = |who: usize, kind: Kind, message: &Message| {
            let place = self.place(committee, who).unwrap();
            let bytes = self.seal(who, place, &slot(kind), message);
            self.open(&[Arc::clone(committee)], &bytes).unwrap()
        };
        let update = |who: &usize| say(*who, Kind::Update, &Message::Update(self.header(*who, round, base)));
        let updates: Vec<Verified> = members.iter().map(update).collect();
        let mut items: Vec<_> = updates.iter().map(|update| (update.author(), update.statement())).collect();
        items.sort_unstable();
        let receipt = Message::Receipt(Receipt { items, artefacts: Vec::new() });
        let receipts = members.iter().map(|who| say(*who, Kind::Receipt, &receipt));
        updates.iter().cloned().chain(receipts).collect()
    }
}
