//! Fewer states of a member, exactly: those that say the same, and go on to say the same whatever happens, are one.

use std::collections::BTreeMap;

use crate::model::{Places, Summary};
use crate::network::fingerprint;

/// The states of one honest member that somebody could tell apart by feeding it steps and listening.
pub(crate) struct Quotient {
    /// What is visible, by class.
    pub(crate) summaries: Vec<Summary>,
    /// Next classes, by class and step, where they are others.
    pub(crate) next: Vec<Vec<(u16, u32)>>,
    /// One state of each class.
    pub(crate) example: Vec<u32>,
}

impl Quotient {
    /// The coarsest bisimulation, by refinement: split by what is visible, then by where steps lead, until nothing splits.
    /// A step that was left out leads nowhere else.
    pub(crate) fn of(places: &Places) -> Self {
        let count = places.summaries.len();
        let mut class = vec![0u32; count];
        let mut classes = 0;
        loop {
            let mut known: BTreeMap<(u64, u64), u32> = BTreeMap::new();
            let mut refined = Vec::with_capacity(count);
            for (number, next) in places.next.iter().enumerate() {
                let mut leads = leading(next, &class, class[number]);
                leads.sort_unstable();
                let seen = (class[number], visible(&places.summaries[number]), leads);
                let seen = (fingerprint(&seen), fingerprint(&("again", seen)));
                let fresh = known.len() as u32;
                refined.push(*known.entry(seen).or_insert(fresh));
            }
            class = refined;
            if known.len() == classes {
                break;
            }
            classes = known.len();
        }
        let mut this = Self { summaries: Vec::new(), next: Vec::new(), example: Vec::new() };
        for (number, &own) in class.iter().enumerate() {
            // Classes are numbered by their first state, so that class 0 is where everything begins.
            if own as usize == this.summaries.len() {
                this.summaries.push(places.summaries[number]);
                this.next.push(leading(&places.next[number], &class, own));
                this.example.push(number as u32);
            }
        }
        for (summary, own) in places.summaries.iter().zip(&class) {
            let (votes, proposals) = summary.open;
            let class = &mut this.summaries[*own as usize];
            class.open = (class.open.0 | votes, class.open.1 | proposals);
            class.open_to_evidence |= summary.open_to_evidence;
        }
        this
    }
}

/// Where the steps of a state lead that leave its class.
fn leading(next: &[(u16, u32)], class: &[u32], own: u32) -> Vec<(u16, u32)> {
    let leads = next.iter().map(|(step, to)| (*step, class[*to as usize]));
    leads.filter(|(_, to)| *to != own).collect()
}

type Visible = (u128, u128, Option<usize>, bool);

fn visible(summary: &Summary) -> Visible {
    (summary.votes, summary.proposals, summary.committed, summary.blames_honest)
}
