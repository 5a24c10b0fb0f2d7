//! What must hold of every receipt and of every record, and what must happen to some.

use std::ops::BitOrAssign;

use fedswarm_protocol::envelope::Verified;
use fedswarm_protocol::message::Message;
use stateright::Property;

use super::model::{Phases, Receipts, Setting};
use super::peer::{Peer, Vote};
use super::words::{Fate, Words, items, name};

/// A claim that was broken, or something that happened, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bits(u16);

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Bits {
    fn of(holds: bool, bit: u16) -> Self {
        Self(if holds { 1 << bit } else { 0 })
    }
}

/// What was found out on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Claims {
    pub(super) wrongs: Bits,
    happened: Bits,
}

impl Claims {
    pub(super) fn with(mut self, other: Self) -> Self {
        self.wrongs |= other.wrongs;
        self.happened |= other.happened;
        self
    }
}

/// Broken by members.
pub(super) const UNHELD: &str = "a receipt lists what its signer holds, from the parent, once per author";
pub(super) const CONTRADICTORY: &str = "whoever knows that an author said two things receipts neither";
pub(super) const SECOND: &str = "I7 no honest member signs two receipts";
pub(super) const BLAME: &str = "I7 no honest member is found at fault";
/// Broken by records that are notarized.
pub(super) const FORCED: &str = "I6 the inputs of what is notarized are those that a quorum of receipts forces";
pub(super) const TWICE: &str = "I11 nobody is counted twice";
pub(super) const BASE: &str = "I11 every input starts from the parent";
pub(super) const HELD: &str = "an honest member holds each input";
pub(super) const CENSORED: &str = "what all honest members receipted is not left out";
/// Broken by votes.
pub(super) const HONEST_REFUSED: &str = "an honest aggregator's record is notarized by all";
pub(super) const GOOD_REFUSED: &str = "a record that its receipts force is notarized by all, whoever aggregates";

const WRONGS: [&str; 11] =
    [UNHELD, CONTRADICTORY, SECOND, BLAME, FORCED, TWICE, BASE, HELD, CENSORED, HONEST_REFUSED, GOOD_REFUSED];

const LIE_REFUSED: &str = "a lie about the inputs is refused by all";
const EVICTED: &str = "a record that evicts the liar is notarized by all";

const HAPPENED: [&str; 7] = [
    "all four updates are merged",
    "an equivocator's update is merged, because nobody else knows of the other one",
    "an equivocator's updates are both left out, because each has one receipt",
    "a record is empty, for want of inputs",
    LIE_REFUSED,
    "an update is left out that one honest member receipted",
    EVICTED,
];

fn bit(all: &[&str], name: &str) -> u16 {
    all.iter().position(|other| *other == name).unwrap() as u16
}

/// What a member has done.
pub(super) fn of_peer(peer: &Peer) -> Bits {
    let mut bits = Bits::default();
    let found = peer.wrongs;
    for (wrong, name) in [
        (found.unheld, UNHELD),
        (found.contradictory, CONTRADICTORY),
        (found.second, SECOND),
        (found.blames_honest, BLAME),
    ] {
        bits |= Bits::of(wrong, bit(&WRONGS, name));
    }
    bits
}

/// What became of a record. `peers` are the honest members before they heard of it.
pub(super) fn of_record(
    words: &Words,
    peers: &[Peer],
    receipts: &[Verified],
    proposal: &Verified,
    votes: &[Vote],
) -> Claims {
    let Message::Proposal(proposed) = proposal.message() else { unreachable!() };
    let (inputs, evicts) = (&proposed.body.inputs, !proposed.body.operations.is_empty());
    let receipts: Vec<&Verified> = receipts.iter().collect();
    let notarized = votes.contains(&Vote::Notarize);
    let everybody = votes.iter().all(|vote| *vote == Vote::Notarize);
    let forced = words.forced(&receipts, evicts);
    let good = receipts.len() == words.network.quorum().quorum && *inputs == forced;
    let honest = proposal.author() != words.liar;
    let known = words.updates.iter().filter(|(_, fate)| *fate != Fate::Stale).map(|(update, _)| name(update));
    let made: Vec<_> = words.honest.iter().map(|h| name(&words.network.update(*h))).chain(known).collect();
    let by_all = |item: &(u16, _)| peers.iter().all(|p| p.receipt.as_ref().is_some_and(|r| items(r).contains(item)));
    let censored = made.iter().any(|item| by_all(item) && !(evicts && item.0 == words.liar) && !inputs.contains(item));
    let held = |item: &(u16, _)| peers.iter().any(|peer| peer.has.contains(item));
    let mut claims = Claims::default();
    for (broken, name) in [
        (notarized && !good, FORCED),
        (notarized && !inputs.is_sorted_by(|a, b| a.0 < b.0), TWICE),
        (notarized && !inputs.iter().all(|item| made.contains(item)), BASE),
        (notarized && !inputs.iter().all(held), HELD),
        (notarized && censored, CENSORED),
        (honest && !everybody, HONEST_REFUSED),
        (good && !everybody, GOOD_REFUSED),
    ] {
        claims.wrongs |= Bits::of(broken, bit(&WRONGS, name));
    }
    let lists = |item: &(u16, _)| receipts.iter().filter(|r| items(r).contains(item)).count();
    let (first, second) = (name(&words.updates[0].0), name(&words.updates[1].0));
    let split = lists(&first) == 1 && lists(&second) == 1;
    let liars = inputs.iter().any(|item| item.0 == words.liar);
    let one_knows = |update| peers.iter().any(|peer| peer.has.contains(update));
    let listed_once = |item: &(u16, _)| lists(item) == 1 && held(item) && !inputs.contains(item);
    for (number, happens) in [
        everybody && inputs.len() == 4,
        everybody && liars && one_knows(&first) && one_knows(&second),
        everybody && split && !liars,
        everybody && inputs.len() < 2,
        !good && votes.iter().all(|vote| *vote == Vote::Nullify),
        everybody && made.iter().any(listed_once),
        everybody && evicts,
    ]
    .into_iter()
    .enumerate()
    {
        claims.happened |= Bits::of(happens, number as u16);
    }
    claims
}

/// All claims, and what must happen where the setting lets it.
pub(super) fn properties(setting: &Setting) -> Vec<Property<Receipts>> {
    /// Conditions are functions, so each claim has its own.
    macro_rules! each {
        ($make:path, $names:ident, $set:ident, $is:literal, [$($number:literal),*]) => {
            [$($make($names[$number], |_, state: &Phases| (state.claims.$set.0 & 1 << $number != 0) == $is)),*]
        };
    }
    let never = each!(Property::always, WRONGS, wrongs, false, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let reached = each!(Property::sometimes, HAPPENED, happened, true, [0, 1, 2, 3, 4, 5, 6]);
    let can = |name: &str| match name {
        LIE_REFUSED => setting.liar_aggregates,
        // A Byzantine one does not evict itself.
        EVICTED => !setting.liar_aggregates,
        _ => true,
    };
    let up_to_receipts = setting.restarts || setting.updates_only;
    let can = |name: &str| !up_to_receipts && can(name);
    never.into_iter().chain(reached.into_iter().filter(|property| can(property.name))).collect()
}
