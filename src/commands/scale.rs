//! `fedswarm simulate --transport virtual --no-training`: how large a world this machine carries.

use fedswarm_simulations::scenario::{Scenario, VirtualTime};
use fedswarm_simulations::world::scale::{self, Figures};
use serde_json::json;

use crate::failure::Failure;

pub(crate) fn run(scenario: &Scenario, json: bool) -> Result<(), Failure> {
    let options = VirtualTime::untrained(scenario);
    let (outcome, figures) = scale::run(&options).map_err(|e| Failure::failed(e.to_string()))?;
    let tally = outcome.tally;
    if json {
        let record = outcome.record.to_string();
        println!(
            "{}",
            json!({
                "figures": figures, "signatures": options.signatures, "seed": options.seed, "late_views": outcome.late_views,
                "faults": tally, "record": record, "events_hash": outcome.log.to_string(), "broken": outcome.broken,
            })
        );
    } else {
        print(&figures);
        for (name, count) in tally.list().into_iter().filter(|(_, count)| *count > 0) {
            println!("  {count:>12} {name}");
        }
        println!("last record {}, {} rounds not in their first view", outcome.record, outcome.late_views);
    }
    if let Some(broken) = outcome.broken {
        let text = format!("{broken}; the same command with --seed {} repeats it", options.seed);
        return Err(Failure::failed(text));
    }
    if outcome.rounds < scenario.rounds {
        let text = format!("only {} of {} rounds became final; give faults an end", outcome.rounds, scenario.rounds);
        return Err(Failure::failed(text));
    }
    Ok(())
}

fn print(figures: &Figures) {
    let Figures { members, voters, rounds, events, messages, .. } = figures;
    println!(
        "{members} members, {voters} of them voters; {rounds} rounds in {:.1} s of virtual time",
        figures.virtual_seconds
    );
    println!("{:.0} member-rounds a second: {:.1} s", figures.member_rounds_per_s, figures.seconds);
    if let (Some(rate), Some(cpu)) = (figures.member_rounds_per_cpu_s, figures.cpu_seconds) {
        println!("{rate:.0} member-rounds a second of processor time: {cpu:.1} s");
    }
    println!("{events} events, {messages} messages, {:.1} MB of them", figures.message_bytes as f64 / 1e6);
    println!("{:.1} s before for keys and the records by which contributors joined", figures.founding_seconds);
    if let Some(bytes) = figures.peak_rss_bytes {
        println!("{} MiB of memory at most", bytes >> 20);
    }
}
