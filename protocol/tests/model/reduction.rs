//! Which steps can make a difference: the others are left out, each for a reason.

use fedswarm_protocol::envelope::Kind;
use fedswarm_protocol::round::Timer;

use crate::model::Setting;
use crate::network::Network;
use crate::steps::{Local, Mutant, Step};
use crate::vocabulary::{Vocabulary, Vote};

/// The votes and proposals whose arrival can make a difference to a member.
///
/// Always left out, because the machine ignores them, or because an invariant was broken before they could arrive:
/// 1. a second certificate of one kind and view, a second finalization, and a second proposal of one view, which proves
///    that its author lies: the arrival of such a proof is a step of its own ([`open_to_evidence`]);
/// 2. a notarization of another record than the one that the member voted to finalize in that view: it has seen a
///    notarization of its record, so I2 is broken; a nullification of a view with a finalization, and the other way round:
///    I3 is broken. (Mutants go on.)
///
/// Left out where the settings ask for a reduced exploration, because they cannot change what the member will say:
/// 3. a proposal before its view: it is judged when the view is entered, just as if it came right then;
/// 4. a proposal of a view that the member has left or voted in, unless it leads a view to come and must repeat just this
///    record: it is not judged any more;
/// 5. once the explored views are over, a certificate that makes the member say nothing: a nullification, and a
///    notarization of a view that it has nullified or voted to finalize;
/// 6. finalize votes without the record: the record comes with them.
///
/// A mutant that speaks where 1, 4 or 5 says that a member is silent is explored without that reason.
pub(crate) fn open(network: &Network, vocabulary: &Vocabulary, setting: &Setting, local: &Local) -> (u128, u128) {
    let view = local.member.machine.position().1;
    let remembered = vocabulary.votes_in(&local.member.log);
    let said = |holds: &dyn Fn(Vote) -> bool| remembered & vocabulary.votes_where(holds) != 0;
    let decided = |holds: &dyn Fn(Vote) -> bool| local.decided & vocabulary.votes_where(holds) != 0;
    let votes = vocabulary.votes_where(|v| {
        let said_here = |kind: Kind| said(&|other| (other.kind, other.view) == (kind, v.view));
        let held = decided(&|other| other.kind == v.kind && (other.view == v.view || v.kind == Kind::Finalize));
        let other_is_final = v.kind == Kind::Notarize
            && said(&|other| other.kind == Kind::Finalize && other.view == v.view && other.record != v.record);
        let over = view >= network.views && setting.mutant != Some(Mutant::FinalizeAfterNullify);
        let nothing_to_say = match v.kind {
            Kind::Nullify => over,
            Kind::Notarize => over && (said_here(Kind::Nullify) || said_here(Kind::Finalize)),
            _ => true,
        };
        let excluded = match v.kind {
            Kind::Nullify => decided(&|other| (other.kind, other.view) == (Kind::Finalize, v.view)),
            Kind::Finalize => decided(&|other| (other.kind, other.view) == (Kind::Nullify, v.view)),
            _ => false,
        };
        let impossible = setting.mutant.is_none() && (other_is_final || excluded);
        !(held || impossible || setting.reduced && nothing_to_say)
    });
    let leads_later = (view..network.views).any(|v| network.leader(v) == local.member.index);
    let voted = said(&|v| v.view == view && matches!(v.kind, Kind::Notarize | Kind::Nullify));
    let voted = voted && setting.mutant != Some(Mutant::DoubleNotarize);
    let all = local.heard | vocabulary.proposals_in(&local.member.log);
    let mut proposals = 0;
    for (index, proposal) in vocabulary.proposals.iter().enumerate() {
        let of = proposal.slot().view;
        let record = vocabulary.proposal(index).0;
        let notarized = || decided(&|v| v.kind == Kind::Notarize && v.record == record);
        let useful = (of == view && !voted) || (of <= view && leads_later && notarized());
        let taken = match setting.mutant {
            Some(Mutant::DoubleNotarize) if of == 0 => 1 << index,
            _ => vocabulary.proposals_of(of),
        };
        if all & taken == 0 && (useful || !setting.reduced) {
            proposals |= 1 << index;
        }
    }
    (votes, proposals)
}

/// Left out besides in a frugal exploration:
/// 7. timers of other views than the member's, and those of the first phases: the machine does nothing when they fire;
/// 8. votes one by one: what is decided arrives as a certificate, which comes to the same (`equivalence.rs`);
/// 9. what a machine makes of a final record: it takes it, whatever else it knows (`equivalence.rs`), and is silent.
pub(crate) fn is_left_out(step: Step, present: u32) -> bool {
    match step {
        Step::Timer(Timer::View { view, .. } | Timer::Repropose { view, .. }) => view != present,
        Step::Timer(_) => true,
        _ => false,
    }
}

/// Whether a proof against a Byzantine member can make a difference to a member. All that it changes is what the member
/// proposes afresh, so whoever leads no view to come, or has proposed, need not hear of it. Walks, which go on beyond the
/// explored views, bring it to everybody.
pub(crate) fn open_to_evidence(network: &Network, setting: &Setting, local: &Local) -> bool {
    let member = &local.member;
    let proposed = |view: u32| {
        member.log.iter().any(|m| (m.slot().kind, m.slot().view, m.author()) == (Kind::Proposal, view, member.index))
    };
    let mut views = member.machine.position().1..network.views;
    let proposes = views.any(|view| network.leader(view) == member.index && !proposed(view));
    member.committed.is_none() && !member.caught && (proposes || !(setting.quotient || setting.reduced))
}
