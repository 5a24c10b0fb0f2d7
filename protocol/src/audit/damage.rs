//! A record that is not the one that was signed: which of its fields was altered?

use super::finding::{Show as _, first_difference};
use super::{Auditor, Finding, Place, named};
use crate::hash::Digest;
use crate::message::Committed;
use crate::record::RecordKind;

impl Auditor {
    /// The certificate is sound and about another record. If the record can be derived so that its hash is the certified
    /// one, that is the record that was signed, and the first difference from it is the altered field.
    pub(super) fn name_damage(
        &self,
        round: u64,
        committed: &Committed,
        bundle: Option<&[u8]>,
        blob: &mut dyn FnMut(&Digest) -> Option<Vec<u8>>,
    ) -> Finding {
        let Committed { record, body, certificate } = committed;
        let found = record.hash().unwrap_or_default();
        let unnamed = Finding {
            round,
            place: Place::Record,
            field: "hash".to_owned(),
            expected: format!("{}, which the certificate is about", certificate.record),
            found: found.show(),
        };
        let Some(position) = self.position() else { return unnamed };
        let own = named(record);
        let mut states = vec![(record.kind == RecordKind::Normal).then_some(own), Some(own), None];
        // What is wrong with the inputs is of no interest here: the record is wrong already.
        if let Some(Ok(Some(merged))) = bundle.map(|bundle| self.merge(&position, body, bundle, blob)) {
            states.push(merged.map(|(_, merged)| merged));
        }
        // A record is first proposed in a view in which every earlier aggregator was passed over, each at most once.
        let views = 0..=certificate.view.min(self.voters.len() as u32);
        let mut first = None;
        for view in std::iter::once(record.origin_view).chain(views) {
            for state in &states {
                let Ok((signed, _)) = position.record(body, state.as_ref(), position.leader(view), view) else {
                    continue;
                };
                let difference = first_difference(&signed, record);
                if signed.hash().as_ref() == Ok(&certificate.record) {
                    return difference.map_or(unnamed, |difference| difference.at(round));
                }
                first = first.or(difference);
            }
        }
        first.map_or(unnamed, |difference| difference.at(round))
    }
}
