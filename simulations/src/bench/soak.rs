//! `fedswarm bench soak`: whether nodes that run for long take more and more memory or descriptors.

use std::fmt;
use std::time::{Duration, Instant};

use fedswarm_network::TransportKind;
use serde::Serialize;

use super::crowd::Crowd;
use super::network::Plan;
use super::{Tell, process};
use crate::{Error, stats};

/// Rounds between two readings. Too few, and the nodes rest more than they work; too many, and there are few readings.
const ROUNDS: u64 = 16;

/// How long the nodes rest before a reading: what is on its way, a few megabytes, more or less by the moment, is let go. Too short, and it is
/// read as well.
const REST: Duration = Duration::from_millis(300);

/// Readings between two lines of progress.
const TOLD_EVERY: usize = 12;

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

/// Runs so many nodes for so long, each with a folder, at full speed but for a short rest before each reading.
///
/// # Errors
/// [`Error`]: what kept them from running.
pub async fn run(nodes: u16, parameters: u32, time: Duration, tell: Tell<'_>) -> Result<Figures, Error> {
    let plan = Plan { voters: nodes, contributors: 0, parameters, rounds: 0 };
    let mut crowd = Crowd::start(&plan, TransportKind::Tcp, true).await?;
    crowd.meshed().await?;
    crowd.settled().await?;
    let first = crowd.founded.round;
    let (began, mut last, mut series) = (Instant::now(), first, Vec::new());
    while began.elapsed() < time {
        last += ROUNDS;
        crowd.gate.allow(ROUNDS);
        crowd.rounds_to(last, |_, _, _| {}).await?;
        tokio::time::sleep(REST).await;
        let (rss, anonymous) = (process::rss_bytes(None), process::anonymous_pss_bytes(None));
        if let (Some(rss), Some(anonymous), Some(files)) = (rss, anonymous, process::descriptors()) {
            let seconds = began.elapsed().as_secs_f64();
            series.push((seconds, rss, anonymous, files));
            if series.len() % TOLD_EVERY == 0 {
                tell(&format!(
                    "{seconds:.0} s: {} rounds, {:.2} MB, {files} descriptors",
                    last - first,
                    rss as f64 / 1e6
                ));
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
        rounds: last - first,
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
