//! What is wrong with a certificate, by name.

use super::finding::Show as _;
use super::{Finding, Place};
use crate::certificate::{Certificate, Quorum};
use crate::envelope::{Kind, Slot, signed_bytes};
use crate::hash::Digest;
use crate::keys::PublicKey;
use crate::message::Committed;

/// Views that are tried to find the one that was signed. Too low and a damaged view is only said to be wrong.
const VIEWS_TRIED: u32 = 64;

/// The first thing that is wrong with the certificate itself: kind, place, votes, signatures. Whether it is about the record
/// beside it is another question.
pub(super) fn fault(committed: &Committed, round: u64, network: &Digest, voters: &[PublicKey]) -> Option<Finding> {
    let Committed { record, certificate, .. } = committed;
    let wrong = |field: &str, expected: String, found: String| {
        Some(Finding { round, place: Place::Certificate, field: field.to_owned(), expected, found })
    };
    if certificate.kind != Kind::Finalize {
        return wrong("kind", Kind::Finalize.name().to_owned(), certificate.kind.name().to_owned());
    }
    if certificate.round != round {
        return wrong("round", round.show(), certificate.round.show());
    }
    let quorum = Quorum::of(voters.len()).quorum;
    if certificate.votes.len() < quorum {
        let expected = format!("{quorum} votes of {} members", voters.len());
        return wrong("votes", expected, certificate.votes.len().to_string());
    }
    let places: Vec<u16> = certificate.votes.iter().map(|(voter, _)| *voter).collect();
    let in_order = places.is_sorted_by(|a, b| a < b);
    if !in_order || places.last().is_some_and(|last| usize::from(*last) >= voters.len()) {
        let expected = format!("members 0 to {} by ascending place, each once", voters.len() - 1);
        return wrong("votes", expected, format!("{places:?}"));
    }
    let failing: Vec<usize> = failing_votes(certificate, network, voters);
    let first = *failing.first()?;
    let (voter, _) = certificate.votes[first];
    let signed = "a signature of the member over the record's hash";
    if failing.len() == certificate.votes.len() {
        // All at once: what they signed was altered, not the signatures.
        let holds = |altered: &Certificate| failing_votes(altered, network, voters).is_empty();
        if let Ok(hash) = record.hash()
            && holds(&Certificate { record: hash, ..certificate.clone() })
        {
            return wrong("record", hash.show(), certificate.record.show());
        }
        if holds(&Certificate { epoch: record.epoch, ..certificate.clone() }) {
            return wrong("epoch", record.epoch.show(), certificate.epoch.show());
        }
        let at = |view| Certificate { view, ..certificate.clone() };
        if let Some(view) = (0..VIEWS_TRIED).find(|view| holds(&at(*view))) {
            return wrong("view", view.show(), certificate.view.show());
        }
        return wrong(
            "votes",
            signed.to_owned(),
            "no signature that holds for this network, epoch, round and view".into(),
        );
    }
    let field = format!("votes[{first}] of member {voter}");
    wrong(&field, signed.to_owned(), "a signature that does not hold".to_owned())
}

fn failing_votes(certificate: &Certificate, network: &Digest, voters: &[PublicKey]) -> Vec<usize> {
    let Certificate { kind, epoch, round, view, record, votes } = certificate;
    let slot = Slot { kind: *kind, epoch: *epoch, round: *round, view: *view };
    let message = signed_bytes(network, &slot, record.as_bytes());
    let holds = |(voter, signature): &(u16, crate::keys::Signature)| {
        voters.get(usize::from(*voter)).is_some_and(|key| key.verifies(&message, signature))
    };
    votes.iter().enumerate().filter(|(_, vote)| !holds(vote)).map(|(i, _)| i).collect()
}
