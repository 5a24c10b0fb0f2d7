//! `fedswarm simulate --soak`: many drawn worlds in virtual time, to find what breaks.

use std::time::{Duration, Instant};

use fedswarm_simulations::world::{draw, soak};
use serde_json::json;

use crate::failure::Failure;

/// Which worlds to run, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run drawn worlds in virtual time, with faults and liars, and check every invariant on every event. Nothing is
    /// trained, nothing is written.
    #[arg(long)]
    soak: bool,
    /// With --soak: the seeds, both included, such as 1..2000; 17..17 repeats one [default: from 1 on, until stopped].
    #[arg(long, value_name = "A..B", requires = "soak")]
    seeds: Option<String>,
    /// With --soak: begin no new seed after so many seconds.
    #[arg(long, value_name = "N", requires = "soak")]
    seconds: Option<u64>,
}

impl Args {
    pub(crate) const fn is_asked_for(&self) -> bool {
        self.soak
    }

    fn range(&self) -> Result<(u64, Option<u64>), Failure> {
        let Some(text) = &self.seeds else { return Ok((1, None)) };
        let bad = || Failure::input(format!("cannot read `{text}` as seeds; write 1..2000 (both included)"));
        let (first, last) = text.split_once("..").ok_or_else(bad)?;
        let (first, last): (u64, u64) =
            (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
        if first > last { Err(bad()) } else { Ok((first, Some(last))) }
    }
}

pub(crate) fn run(args: &Args, json: bool) -> Result<(), Failure> {
    let (first, last) = args.range()?;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let plan = soak::Plan { first, last, time: args.seconds.map(Duration::from_secs), threads };
    let runtime = crate::runtime()?;
    let stop = super::stop_on_interrupt(&runtime);
    let began = Instant::now();
    if first == last.unwrap_or_default() {
        // One seed: somebody wants to see what it is.
        eprintln!("{:#?}", draw::options(first));
    }
    let tell = |outcome: &fedswarm_simulations::world::outcome::Outcome| {
        if let Some(broken) = &outcome.broken {
            eprintln!("seed {}: {} does not hold: {}", outcome.seed, broken.rule, broken.what);
            eprintln!("  to repeat it: {}", soak::replay(outcome.seed));
        }
    };
    let report = soak::run(&plan, &stop, draw::options, tell).map_err(|e| Failure::failed(e.to_string()))?;
    let seconds = began.elapsed().as_secs_f64();
    if json {
        let breaks: Vec<_> = report
            .breaks
            .iter()
            .map(|(seed, broken)| json!({ "seed": seed, "rule": broken.rule, "what": broken.what, "replay": soak::replay(*seed) }))
            .collect();
        println!(
            "{}",
            json!({
                "seeds": report.seeds, "real_signatures": report.real_signatures, "twice": report.twice,
                "rounds": report.rounds, "under_faults": report.under_faults, "late_views": report.late_views,
                "membership_changes": report.changes, "events": report.events, "virtual_days": report.virtual_ms as f64 / 86_400_000.0,
                "longest_round_ms": report.longest_ms, "faults": report.tally, "faults_total": report.tally.total(),
                "broken": report.broken, "breaks": breaks, "seconds": seconds,
            })
        );
    } else {
        println!(
            "{} seeds ({} with real signatures, {} run twice): {} rounds, {} of them under faults, {} not in their first view",
            report.seeds, report.real_signatures, report.twice, report.rounds, report.under_faults, report.late_views
        );
        println!(
            "{} events in {:.1} days of virtual time; the longest round after a healing took {:.1} s of it",
            report.events,
            report.virtual_ms as f64 / 86_400_000.0,
            report.longest_ms as f64 / 1e3
        );
        println!("{} members joined, left, changed their keys or were evicted", report.changes);
        for (name, count) in report.tally.list() {
            println!("  {count:>12} {name}");
        }
        println!("{} invariants broken, {seconds:.0} s", report.broken);
    }
    if report.broken > 0 {
        let seeds: Vec<String> = report.breaks.iter().map(|(seed, _)| seed.to_string()).collect();
        return Err(Failure::failed(format!("invariants did not hold in seeds {}", seeds.join(", "))));
    }
    Ok(())
}
