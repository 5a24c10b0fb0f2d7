//! `fedswarm verify`: check a run, a node's records, or a proof that a member lied.

use std::path::{Path, PathBuf};

use fedswarm_node::audit::{Audit, FileFinding, audit};
use fedswarm_node::founding;
use fedswarm_protocol::audit::{Depth, RoundReport};
use fedswarm_protocol::evidence::{EvidenceError, EvidenceFile, MAX_EVIDENCE_BYTES};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Derives every record of a run again from its signed inputs, checks every certificate, and names the first field of a round
/// that is not what it must be. Takes the results of `simulate` or the folder of a stopped node. Of a file it checks whether
/// it proves that a member said two contradictory things.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  fedswarm verify runs/moe-ktl-seed1
  fedswarm verify state --verbose
  fedswarm verify equivocation.evidence --manifest clinic.manifest
Exit codes: 0 everything holds, 1 something does not, 2 there is nothing to verify.")]
pub(crate) struct Args {
    /// A run's folder, a node's folder, or an evidence file.
    path: PathBuf,
    /// Say of every round how it was checked.
    #[arg(long, short)]
    verbose: bool,
    /// Fail as well if a round cannot be recomputed because its signed inputs are not kept.
    #[arg(long)]
    all: bool,
    /// For an evidence file: the network's manifest, to see whether the liar is one of its members.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    if args.path.is_file() { verify_evidence(args, json) } else { verify_folder(args, json) }
}

fn verify_folder(args: &Args, json: bool) -> Result<(), Failure> {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("verifying [{bar:18}] {pos}/{len}  {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let verbose = args.verbose && !json;
    let audit = audit(&args.path, &mut |report, last| {
        bar.set_length(last);
        bar.set_position(report.round);
        if verbose {
            bar.suspend(|| println!("{}", round_line(report)));
        }
    })?;
    bar.finish_and_clear();
    let held_back = args.all && audit.recomputed.len() < audit.rounds();
    if audit.findings.is_empty() && !held_back {
        println!("{}", if json { to_json(&audit).to_string() } else { summary(&audit) });
        return Ok(());
    }
    let mut text: Vec<String> = audit.findings.iter().map(finding_text).collect();
    if audit.findings.is_empty() {
        text.push("not every round can be recomputed, which --all asks for".to_owned());
    }
    text.push(summary(&audit));
    Err(Failure::failed(text.join("\n")).with_json(to_json(&audit)))
}

fn round_line(report: &RoundReport) -> String {
    let RoundReport { round, depth, inputs, finding } = report;
    let how = match (finding, depth) {
        (Some(_), _) => "does not hold".to_owned(),
        (None, Depth::Recomputed) => format!("recomputed from {inputs} signed updates"),
        (None, Depth::Chained) => "follows from the round before and is certified; its inputs are not kept".to_owned(),
        (None, Depth::Certificate) => "certified; the round before is not here or does not hold".to_owned(),
    };
    format!("round {round}: {how}")
}

fn finding_text(finding: &FileFinding) -> String {
    let FileFinding { file, round, field, expected, found } = finding;
    let round = round.map(|round| format!("round {round}: ")).unwrap_or_default();
    format!("{round}{}: {field}\n  expected {expected}\n  found    {found}", file.display())
}

/// How many rounds hold, and by what.
fn summary(audit: &Audit) -> String {
    let count = audit.rounds();
    let mut parts = Vec::new();
    let mut part = |rounds: &[u64], text: &str| {
        if !rounds.is_empty() {
            let noun = if rounds.len() == 1 { "round" } else { "rounds" };
            let which = if rounds.len() == count { String::new() } else { format!(" ({noun} {})", ranges(rounds)) };
            parts.push(format!("{} {text}{which}", rounds.len()));
        }
    };
    part(&audit.failed, "not what the inputs and signatures give");
    part(&audit.recomputed, "recomputed from their signed inputs");
    part(&audit.chained, "checked by chain and certificate, inputs no longer kept");
    part(&audit.certified, "checked by certificate alone, the round before is not here or does not hold");
    let certificates = if audit.failed.is_empty() { ", all certificates hold" } else { "" };
    let absent = match audit.absent.as_slice() {
        [] => String::new(),
        absent => format!("; no record of {} here", ranges(absent)),
    };
    let state = audit.state.map(|state| format!("; state {state}")).unwrap_or_default();
    let rounds = if count == 1 { "1 round".to_owned() } else { format!("{count} rounds") };
    format!("{rounds} of {:?}: {}{certificates}{absent}{state}", audit.name, parts.join(", "))
}

/// Numbers in ascending order, as people write them: `1 to 4, 7`.
fn ranges(rounds: &[u64]) -> String {
    let runs = rounds.chunk_by(|a, b| a + 1 == *b);
    let show = |run: &[u64]| match run {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} to {last}"),
    };
    runs.map(show).collect::<Vec<_>>().join(", ")
}

fn to_json(audit: &Audit) -> Value {
    let findings: Vec<Value> = audit
        .findings
        .iter()
        .map(|f| {
            let FileFinding { file, round, field, expected, found } = f;
            json!({ "file": file, "round": round, "field": field, "expected": expected, "found": found })
        })
        .collect();
    json!({
        "holds": audit.findings.is_empty(),
        "network": audit.network.to_string(),
        "rounds": audit.rounds(),
        "recomputed": audit.recomputed.len(),
        "chain_and_certificate": audit.chained.len(),
        "certificate_only": audit.certified.len(),
        "failed": audit.failed.len(),
        "absent": audit.absent.len(),
        "state_hash": audit.state.map(|state| state.to_string()),
        "findings": findings,
    })
}

fn verify_evidence(args: &Args, json: bool) -> Result<(), Failure> {
    let name = args.path.display();
    let evidence = match EvidenceFile::from_bytes(&read(&args.path)?) {
        Ok(evidence) => evidence,
        Err(error @ EvidenceError::File(_)) => {
            return Err(Failure::input(format!("{name}: {error}; to verify a run, name its folder")));
        }
        Err(error) => {
            let proof = json!({ "holds": false, "reason": error.to_string() });
            return Err(Failure::failed(format!("{name}: it proves nothing: {error}")).with_json(proof));
        }
    };
    let EvidenceFile { network, proof } = &evidence;
    let key = &proof.author;
    let member = match &args.manifest {
        None => None,
        Some(path) => {
            let manifest = founding::load(path)?;
            let id = manifest.network_id().map_err(fedswarm_node::Error::from)?;
            if id != *network {
                let text = format!("{name}: it is about network {network}, {} is of {id}", path.display());
                return Err(Failure::failed(text));
            }
            Some(manifest.founders.iter().find(|f| f.key == *key).map(|f| f.name.clone()))
        }
    };
    let [a, b] = proof.statements.each_ref().map(|s| format!("{} {}", s.kind.name(), s.body));
    let (epoch, round, view) = (proof.epoch(), proof.round(), proof.statements[0].view);
    if json {
        let who = member.as_ref().map(Option::as_deref);
        let place = json!({ "epoch": epoch, "round": round, "view": view });
        println!(
            "{}",
            json!({ "holds": true, "network": network.to_string(), "key": key.to_string(), "founder": who, "place": place, "statements": [a, b] })
        );
        return Ok(());
    }
    println!("the holder of key {key} lied: in epoch {epoch}, round {round}, view {view} it signed both");
    println!("  {a}\n  {b}");
    match member {
        None => println!("both signatures hold, in network {network}; --manifest says whether the key is a founder's"),
        Some(None) => println!("both signatures hold; the key is not a founder's: its membership is in the records"),
        Some(Some(member)) => println!("both signatures hold; the key is that of founder {member:?}"),
    }
    Ok(())
}

/// A small file, whole.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let limit = MAX_EVIDENCE_BYTES as u64 + 1;
    std::fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|e| Failure::input(format!("{}: {e}", path.display())))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn rounds_are_written_as_people_write_them() {
        assert_eq!(ranges(&[1, 2, 3, 5, 7, 8]), "1 to 3, 5, 7 to 8");
    }
}
