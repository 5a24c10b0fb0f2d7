//! `fedswarm bench soak`: whether nodes that run for long take more and more memory or descriptors.

use std::fmt;
use std::time::{Duration, Instant};

use fedswarm_network::TransportKind;
use serde::Serialize;

use super::crowd::Crowd;
use super::network::Plan;
use super::{Tell, process};
use crate::swarm::cores;
use crate::{Error, stats};

/// Between two readings.
const EVERY: Duration = Duration::from_secs(5);

/// The first part of the run, which is left out: caches and windows fill.
const SETTLING: f64 = 0.25;

/// Neighbouring readings that are averaged into one, so that what is left of their likeness does not make the error look small.
const BLOCKS: usize = 12;

/// A straight line through readings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slope {
    /// Change per hour.
    pub per_hour: f64,
    /// Half width of its 95 % interval.
    pub error: f64,
    /// The mean reading.
    pub mean: f64,
}

impl Slope {
    /// Whether zero is in the interval.
    #[must_use]
    pub fn may_be_zero(&self) -> bool {
        self.per_hour.abs() <= self.error
    }
}

/// What a soak found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Nodes, all of them voters.
    pub nodes: u16,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Rounds in that time.
    pub rounds: u64,
    /// Readings.
    pub readings: usize,
    /// Resident bytes of the process.
    pub rss: Slope,
    /// Of them, heap and stacks.
    pub anonymous: Slope,
    /// Open files and sockets.
    pub descriptors: Slope,
    /// The series: seconds, resident bytes, anonymous bytes, descriptors.
    pub series: Vec<(f64, u64, u64, usize)>,
}

/// The least squares line through values at times, in seconds, with its 95 % interval; averaged in blocks first. Nothing for
/// fewer than three blocks.
#[must_use]
pub fn slope(readings: &[(f64, f64)]) -> Option<Slope> {
    let size = readings.len().div_ceil(BLOCKS).max(1);
    let blocks: Vec<(f64, f64)> = readings
        .chunks(size)
        .map(|block| {
            let n = block.len() as f64;
            (block.iter().map(|r| r.0).sum::<f64>() / n, block.iter().map(|r| r.1).sum::<f64>() / n)
        })
        .collect();
    let n = blocks.len() as f64;
    // One less degree of freedom for a mean than for a line.
    let t = stats::t_factor(blocks.len().checked_sub(1)?)?;
    let (time, mean) = (blocks.iter().map(|b| b.0).sum::<f64>() / n, blocks.iter().map(|b| b.1).sum::<f64>() / n);
    let spread: f64 = blocks.iter().map(|b| (b.0 - time).powi(2)).sum();
    let slope = blocks.iter().map(|b| (b.0 - time) * (b.1 - mean)).sum::<f64>() / spread;
    let rest: f64 = blocks.iter().map(|b| (b.1 - mean - slope * (b.0 - time)).powi(2)).sum();
    let error = t * (rest / (n - 2.0) / spread).sqrt();
    slope.is_finite().then_some(Slope { per_hour: slope * 3600.0, error: error * 3600.0, mean })
}

/// Runs so many nodes for so long, each with a folder, at full speed.
///
/// # Errors
/// [`Error`]: what kept them from running.
pub async fn run(nodes: u16, parameters: u32, time: Duration, tell: Tell<'_>) -> Result<Figures, Error> {
    let plan = Plan { voters: nodes, contributors: 0, parameters, rounds: 0 };
    // A member of its own has a thread that trains; sixteen in a process need no more than the machine has processors.
    let mut crowd = Crowd::start(&plan, TransportKind::Tcp, true, cores()).await?;
    crowd.meshed().await?;
    crowd.settled().await?;
    crowd.gate.allow(u64::MAX);
    let (began, mut due, mut series) = (Instant::now(), Instant::now(), Vec::new());
    let (mut rounds, mut seen) = (0, 0);
    while began.elapsed() < time {
        let (_, event) = crowd.next(Instant::now() + super::PATIENCE).await?;
        if let fedswarm_node::NodeEvent::Round {
            event: fedswarm_protocol::round::Event::RoundCommitted { round, .. },
            ..
        } = event
        {
            rounds += u64::from(round > seen);
            seen = round.max(seen);
        }
        if Instant::now() >= due {
            due += EVERY;
            let (rss, anonymous) = (process::rss_bytes(None), process::anonymous_pss_bytes(None));
            let files = process::descriptors();
            if let (Some(rss), Some(anonymous), Some(files)) = (rss, anonymous, files) {
                series.push((began.elapsed().as_secs_f64(), rss, anonymous, files));
                if series.len() % 12 == 0 {
                    tell(&format!(
                        "{:.0} s: {rounds} rounds, {:.1} MB, {files} descriptors",
                        began.elapsed().as_secs_f64(),
                        rss as f64 / 1e6
                    ));
                }
            }
        }
    }
    crowd.end().await;
    let settled: Vec<_> = series.iter().filter(|r| r.0 >= SETTLING * time.as_secs_f64()).collect();
    let few = || Error::Input(format!("{} s are too short for a slope; try 60", time.as_secs()));
    let of = |value: fn(&(f64, u64, u64, usize)) -> f64| {
        slope(&settled.iter().map(|r| (r.0, value(r))).collect::<Vec<_>>()).ok_or_else(few)
    };
    Ok(Figures {
        nodes,
        seconds: began.elapsed().as_secs_f64(),
        rounds,
        readings: settled.len(),
        rss: of(|r| r.1 as f64)?,
        anonymous: of(|r| r.2 as f64)?,
        descriptors: of(|r| r.3 as f64)?,
        series,
    })
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} nodes, {:.0} s, {} rounds; slopes over the last three quarters ({} readings), 95 % intervals",
            self.nodes, self.seconds, self.rounds, self.readings
        )?;
        let lines = [
            ("resident, MB", self.rss, 1e6),
            ("heap and stacks, MB", self.anonymous, 1e6),
            ("descriptors", self.descriptors, 1.0),
        ];
        for (name, line, unit) in lines {
            let verdict = if line.may_be_zero() { "may be zero" } else { "is not zero" };
            write!(
                f,
                "\n  {name}: {:.2} on average, {:+.3} +- {:.3} an hour: {verdict}",
                line.mean / unit,
                line.per_hour / unit,
                line.error / unit
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_found_again_and_noise_around_a_level_has_none() {
        let line: Vec<_> = (0..60).map(|i| (f64::from(i), 7.0 + 0.5 * f64::from(i))).collect();
        let found = slope(&line).unwrap();
        assert!((found.per_hour - 1800.0).abs() < 1e-6 && !found.may_be_zero());
        let level: Vec<_> = (0..60).map(|i| (f64::from(i), f64::from(i * 37 % 11))).collect();
        assert!(slope(&level).unwrap().may_be_zero());
        assert_eq!(slope(&line[..2]), None);
    }
}
