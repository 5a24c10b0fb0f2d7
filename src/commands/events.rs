//! `fedswarm run --json`: what happens at a node, one JSON object a line, for scripts that follow it.

use std::io::Write as _;

use fedswarm_node::NodeEvent;
use fedswarm_protocol::round::Event;
use serde_json::{Value, json};

/// Prints a line. A reader that went away is no reason to leave the other members alone.
pub(crate) fn print(line: &Value) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// The line of an event. Places are members' numbers in the epoch; `at_ms` counts from the node's start.
pub(crate) fn line(event: &NodeEvent) -> Value {
    match event {
        NodeEvent::Round { at_ms, event } => {
            let mut line = round_line(event);
            line["at_ms"] = json!(at_ms);
            line
        }
        NodeEvent::Measured(measured) => {
            let e = &measured.evaluation;
            json!({ "event": "measured", "round": measured.round, "correct": e.correct, "of": e.total })
        }
        NodeEvent::Trained { round, loss, millis } => {
            json!({ "event": "trained", "round": round, "loss": loss, "millis": millis })
        }
        NodeEvent::Generated { job_round, millis, loss, bytes } => json!({
            "event": "artefact_made", "job": job_round, "millis": millis, "bytes": bytes, "loss": loss.last(),
        }),
        NodeEvent::ArtefactReceived { job_round, host, pairs } => {
            json!({ "event": "artefact_received", "job": job_round, "host": host.to_string(), "pairs": pairs.classes.len() })
        }
        NodeEvent::ArtefactRefused { job_round, host, reason } => json!({
            "event": "artefact_refused", "job": job_round, "host": host.to_string(), "reason": reason,
        }),
        NodeEvent::Tried { round, job_round, host, trial } => json!({
            "event": "artefact_tried", "round": round, "job": job_round, "host": host.to_string(),
            "refused": trial.refused, "with": trial.with, "without": trial.without,
        }),
        NodeEvent::Peer { id, connected } => {
            json!({ "event": "peer", "member": id.to_string(), "connected": connected })
        }
        NodeEvent::Path { id, path } => json!({ "event": "path", "member": id.to_string(), "path": path.name() }),
        NodeEvent::Finished { record, state } => {
            json!({ "event": "finished", "record_hash": record.to_string(), "state_hash": state.to_string() })
        }
        NodeEvent::RequestDone { epoch, ends } => json!({ "event": "request_done", "epoch": epoch, "ends": ends }),
        NodeEvent::RequestHindered { epoch, reason } => {
            json!({ "event": "request_hindered", "epoch": epoch, "reason": reason })
        }
        NodeEvent::Evidence { file, proof } => {
            json!({ "event": "evidence", "member": proof.author.to_string(), "round": proof.round(), "file": file })
        }
        NodeEvent::Held { round } => json!({ "event": "held", "round": round }),
        NodeEvent::Failed { reason } => json!({ "event": "failed", "reason": reason }),
    }
}

fn round_line(event: &Event) -> Value {
    match event {
        Event::RoundStarted { round, leader } => {
            json!({ "event": "round_started", "round": round, "aggregator": leader })
        }
        Event::UpdatePublished { round } => json!({ "event": "update_published", "round": round }),
        Event::ReceiptPublished { round, updates } => {
            json!({ "event": "receipt_published", "round": round, "updates": updates })
        }
        Event::ReceiptQuorum { round } => json!({ "event": "receipt_quorum", "round": round }),
        Event::Proposed { round, view } => json!({ "event": "proposed", "round": round, "view": view }),
        Event::ViewEntered { round, view, leader } => {
            json!({ "event": "view_entered", "round": round, "view": view, "aggregator": leader })
        }
        Event::ProposalRefused { round, view, leader, reason } => json!({
            "event": "proposal_refused", "round": round, "view": view, "aggregator": leader, "reason": reason,
        }),
        Event::RoundCommitted { round, view, proposer, inputs, record } => json!({
            "event": "certified", "round": round, "view": view, "proposer": proposer, "inputs": inputs,
            "record_hash": record.to_string(),
        }),
        Event::ArtefactCertified { round, job_round, host } => json!({
            "event": "artefact_certified", "round": round, "job": job_round, "host": host.to_string(),
        }),
        Event::ArtefactRefused { job_round, host, reason } => json!({
            "event": "artefact_refused", "job": job_round, "host": host.to_string(), "reason": reason,
        }),
        Event::CaughtUp { from, to } => json!({ "event": "caught_up", "from": from, "to": to }),
        Event::EpochStarted { epoch, voters, members, me } => {
            json!({ "event": "epoch_started", "epoch": epoch, "voters": voters, "members": members, "place": me })
        }
        Event::Motion { round, subject, votes, needed } => json!({
            "event": "motion", "round": round, "member": subject.to_string(), "votes": votes, "needed": needed,
        }),
        Event::Equivocated { round, member } => json!({ "event": "equivocated", "round": round, "place": member }),
        Event::Halted { round, reason } => json!({ "event": "halted", "round": round, "reason": reason }),
        Event::Fork { round, records } => {
            json!({ "event": "fork", "round": round, "record_hashes": [records.0.to_string(), records.1.to_string()] })
        }
    }
}
