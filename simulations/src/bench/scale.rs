//! `fedswarm bench scale`: how member-rounds per second of the virtual world change with its size.

use serde::Serialize;
use std::fmt;

use super::Tell;
use crate::Error;
use crate::world::options::Options;
use crate::world::scale;

/// Rounds of each world.
const ROUNDS: u64 = 20;

/// The curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// One world each.
    pub worlds: Vec<scale::Figures>,
}

/// Runs worlds of these sizes, one after the other.
///
/// # Errors
/// [`Error::Input`] for a size that no world has, [`Error::Run`] if an invariant breaks.
pub fn run(sizes: &[u16], tell: Tell<'_>) -> Result<Figures, Error> {
    let mut worlds = Vec::new();
    for &members in sizes {
        let options = Options { members, rounds: ROUNDS, ..Options::default() };
        let (outcome, figures) = scale::run(&options).map_err(|e| Error::Input(e.to_string()))?;
        if let Some(broken) = outcome.broken {
            return Err(Error::Run(broken.to_string()));
        }
        tell(&format!("{members} members: {:.0} member-rounds a second", figures.member_rounds_per_s));
        worlds.push(figures);
    }
    Ok(Figures { worlds })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "members  voters  seconds  member-rounds/s  per CPU s     events   messages  peak MiB")?;
        for world in &self.worlds {
            write!(
                f,
                "\n{:>7}  {:>6}  {:>7.2}  {:>15.0}  {:>9.0}  {:>9}  {:>9}  {:>8}",
                world.members,
                world.voters,
                world.seconds,
                world.member_rounds_per_s,
                world.member_rounds_per_cpu_s.unwrap_or(f64::NAN),
                world.events,
                world.messages,
                world.peak_rss_bytes.unwrap_or_default() >> 20,
            )?;
        }
        Ok(())
    }
}
