//! What must hold in every state (section 2.8 of the design), and what must happen in some, so that holding means something.

use fedswarm_protocol::envelope::Kind;
use stateright::Property;

use crate::model::{Global, RoundModel, Setting, ones};
use crate::vocabulary::Vocabulary;

/// Agreement; the name by which mutants look for forks.
pub(crate) const AGREEMENT: &str = "I1 agreement";

/// Rule (a) at work.
pub(crate) const ONE_NOTARIZATION: &str = "I2 one notarization in a view";

/// Sets of votes that the invariants are about.
pub(crate) struct Masks {
    pub(crate) finalize: u128,
    notarize: u128,
    /// Notarize votes by view.
    notarize_in: Vec<u128>,
    /// All votes by view and kind: nullify, finalize.
    nullify_in: Vec<u128>,
    finalize_in: Vec<u128>,
    /// Notarize votes for records that honest recomputation does not give.
    wrong: u128,
}

impl Masks {
    pub(crate) fn new(vocabulary: &Vocabulary, views: u32) -> Self {
        let of = |kind: Kind, view: u32| vocabulary.votes_where(|v| (v.kind, v.view) == (kind, view));
        Self {
            finalize: vocabulary.votes_where(|v| v.kind == Kind::Finalize),
            notarize: vocabulary.votes_where(|v| v.kind == Kind::Notarize),
            notarize_in: (0..views).map(|view| of(Kind::Notarize, view)).collect(),
            nullify_in: (0..views).map(|view| of(Kind::Nullify, view)).collect(),
            finalize_in: (0..views).map(|view| of(Kind::Finalize, view)).collect(),
            wrong: vocabulary.votes_where(|v| v.kind == Kind::Notarize && v.record >= vocabulary.valid),
        }
    }
}

/// Certificates that can be made in a state.
fn decidable(model: &RoundModel, state: &Global) -> u128 {
    model.decidable(&model.summaries(state))
}

/// One final record, whoever asks: among the finalizations that can be made and among members.
fn agreement(model: &RoundModel, state: &Global) -> bool {
    let members = model.summaries(state);
    let finalizable = model.decidable(&members) & model.masks.finalize;
    let certified = ones(finalizable).map(|i| model.vocabulary.votes[i].record);
    let mut all = certified.chain(members.iter().flatten().filter_map(|m| m.committed));
    let first = all.next();
    all.all(|record| Some(record) == first)
}

fn one_notarization(model: &RoundModel, state: &Global) -> bool {
    let decidable = decidable(model, state);
    model.masks.notarize_in.iter().all(|view| (decidable & view).count_ones() <= 1)
}

fn not_both(model: &RoundModel, state: &Global) -> bool {
    let decidable = decidable(model, state);
    let views = model.masks.nullify_in.iter().zip(&model.masks.finalize_in);
    views.into_iter().all(|(nullify, finalize)| decidable & nullify == 0 || decidable & finalize == 0)
}

fn nothing_else_later(model: &RoundModel, state: &Global) -> bool {
    let decidable = decidable(model, state);
    let votes = &model.vocabulary.votes;
    let (finalize, notarize) = (decidable & model.masks.finalize, decidable & model.masks.notarize);
    ones(finalize)
        .map(|i| votes[i])
        .all(|f| ones(notarize).map(|i| votes[i]).all(|n| n.view <= f.view || n.record == f.record))
}

fn valid(model: &RoundModel, state: &Global) -> bool {
    decidable(model, state) & model.masks.wrong == 0
}

/// Per member and view: one notarize vote, one finalize vote, never nullify and finalize; one proposal.
fn no_contradiction(model: &RoundModel, state: &Global) -> bool {
    let masks = &model.masks;
    model.summaries(state).iter().flatten().all(|m| {
        let one_of_each = masks.notarize_in.iter().chain(&masks.finalize_in).all(|v| (m.votes & v).count_ones() <= 1);
        let views = masks.nullify_in.iter().zip(&masks.finalize_in);
        let one_way = views.into_iter().all(|(nullify, finalize)| m.votes & nullify == 0 || m.votes & finalize == 0);
        let proposals = model.masks.notarize_in.iter().enumerate();
        let one_proposal = proposals
            .into_iter()
            .all(|(view, _)| (m.proposals & model.vocabulary.proposals_of(view as u32)).count_ones() <= 1);
        one_of_each && one_way && one_proposal
    })
}

fn nobody_honest_blamed(model: &RoundModel, state: &Global) -> bool {
    model.summaries(state).iter().flatten().all(|m| !m.blames_honest)
}

fn everybody_commits(model: &RoundModel, state: &Global) -> bool {
    model.summaries(state).iter().flatten().all(|m| m.committed.is_some())
}

fn everybody_evicts(model: &RoundModel, state: &Global) -> bool {
    let evicts = |record: usize| model.vocabulary.evicts(record);
    model.summaries(state).iter().flatten().all(|m| m.committed.is_some_and(evicts))
}

/// A certificate of a kind in a view can be made.
fn some(model: &RoundModel, state: &Global, kind: Kind, view: u32) -> bool {
    let decidable = decidable(model, state);
    ones(decidable).any(|i| (model.vocabulary.votes[i].kind, model.vocabulary.votes[i].view) == (kind, view))
}

/// All of them; of a mutant only whether it forks.
pub(crate) fn properties(setting: &Setting, vocabulary: &Vocabulary) -> Vec<Property<RoundModel>> {
    let mut all = vec![
        Property::always(AGREEMENT, agreement),
        Property::always(ONE_NOTARIZATION, one_notarization),
        Property::always("I3 no view is both nullified and finalized", not_both),
        Property::always("I4 after a finalization nothing else is notarized", nothing_else_later),
        Property::always("I5 what is notarized is what honest members recompute", valid),
        Property::always("I7 no honest member contradicts itself", no_contradiction),
        Property::always("I7 no honest member is found at fault", nobody_honest_blamed),
        Property::sometimes("everybody commits", everybody_commits),
        Property::sometimes("view 0 is nullified", |m, s| some(m, s, Kind::Nullify, 0)),
        Property::sometimes("a record is final in view 1", |m, s| some(m, s, Kind::Finalize, 1)),
        Property::sometimes("a view is both nullified and notarized", |m, s| {
            some(m, s, Kind::Nullify, 0) && some(m, s, Kind::Notarize, 0)
        }),
        Property::sometimes("a record is final in both views", |m, s| {
            some(m, s, Kind::Finalize, 0) && some(m, s, Kind::Finalize, 1)
        }),
    ];
    if (0..vocabulary.records.len()).any(|record| vocabulary.evicts(record)) {
        all.push(Property::sometimes("everybody commits a record that evicts the liar", everybody_evicts));
    }
    if setting.views > 2 {
        all.push(Property::sometimes("a record is final in view 2", |m, s| some(m, s, Kind::Finalize, 2)));
    }
    all
}
