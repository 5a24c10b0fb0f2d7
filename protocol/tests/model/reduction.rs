//! Which steps can make a difference: the others are left out, each for a reason.

use fedswarm_protocol::envelope::Kind;

use crate::network::Network;
use crate::steps::{Local, Mutant};
use crate::vocabulary::{Vocabulary, Vote};

/// The votes and proposals whose arrival can change what a member says.
///
/// What is left out:
/// 1. A second certificate of one kind and view, a second finalization, and a second proposal of one view: the machine
///    ignores them.
/// 2. A proposal before its view: it is judged when the view is entered, just as if it came right then.
/// 3. A proposal of a view that the member has left or voted in, unless it leads a view to come and must repeat just this
///    record: it is not judged any more. (It lets the member commit; the finalization brings the record along.)
/// 4. Once the explored views are over, a certificate that makes the member say nothing: a nullification, and a
///    notarization of a view that it has nullified or voted to finalize.
///
/// A mutant speaks where the machine does not, so for mutants only the first reason counts.
pub(crate) fn open(
    network: &Network,
    vocabulary: &Vocabulary,
    mutant: Option<Mutant>,
    local: &Local,
) -> (u128, u128) {
    let view = local.member.machine.position().1;
    let said = |kind: Kind, view: u32| {
        local.votes & vocabulary.votes_where(|v| (v.kind, v.view) == (kind, view)) != 0
    };
    let decided = |holds: &dyn Fn(Vote) -> bool| local.decided & vocabulary.votes_where(holds) != 0;
    let votes = vocabulary.votes_where(|v| {
        let held = decided(&|other| other.kind == v.kind && (other.view == v.view || v.kind == Kind::Finalize));
        let nothing_to_say = match v.kind {
            Kind::Nullify => true,
            Kind::Notarize => said(Kind::Nullify, v.view) || said(Kind::Finalize, v.view),
            _ => false,
        };
        !held && (mutant.is_some() || view < network.views || !nothing_to_say)
    });
    let leads_later = (view..network.views).any(|v| network.leader(v) == local.member.index);
    let voted = said(Kind::Notarize, view) || said(Kind::Nullify, view);
    let all = local.heard | vocabulary.proposals_in(&local.member.log);
    let mut proposals = 0;
    for (index, proposal) in vocabulary.proposals.iter().enumerate() {
        let of = proposal.slot().view;
        if all & vocabulary.proposals_of(of) != 0 {
            continue;
        }
        let record = vocabulary.proposal(index).0;
        let notarized = || decided(&|v| v.kind == Kind::Notarize && v.record == record);
        let judged = of == view && !voted;
        if judged || (of <= view && leads_later && notarized()) || mutant.is_some() {
            proposals |= 1 << index;
        }
    }
    (votes, proposals)
}
