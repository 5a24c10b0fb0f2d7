//! Telling people how a run goes, on stderr only: stdout is for results.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::results::Summary;

/// What is about to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStart {
    /// What the run is called: the method, or the cell of a comparison.
    pub label: String,
    /// Peers.
    pub nodes: usize,
    /// Rounds to certify.
    pub rounds: u64,
}

/// One certified round, in brief.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundSummary {
    /// The round, counted from 1.
    pub round: u64,
    /// The view in which it was certified; above 0 when an aggregator was passed over.
    pub view: u32,
    /// The name of the peer that aggregated.
    pub aggregator: String,
    /// Sample-weighted accuracy over all peers, 0 to 1.
    pub accuracy: f64,
    /// How long the round took.
    pub seconds: f64,
}

impl RoundSummary {
    fn line(&self) -> String {
        let Self { aggregator, accuracy, seconds, .. } = self;
        let passed_over = self.passed_over();
        format!("accuracy {:5.2} %  {seconds:.1} s  aggregated by {aggregator}{passed_over}", 100.0 * accuracy)
    }

    /// The same, short enough to stand beside a bar on 80 columns.
    fn short(&self) -> String {
        let Self { aggregator, accuracy, seconds, .. } = self;
        format!("{:.2} %  {seconds:.1} s  by {aggregator}{}", 100.0 * accuracy, self.passed_over())
    }

    fn passed_over(&self) -> String {
        match self.view {
            0 => String::new(),
            1 => " (second in line)".to_owned(),
            view => format!(" (view {view})"),
        }
    }
}

/// Someone who wants to know how a run goes. Calls come in the order of the methods, `round` and `note` many times.
pub trait Progress {
    /// The run begins: said at once, before anything slow.
    fn started(&mut self, run: &RunStart);
    /// A round is certified.
    fn round(&mut self, round: &RoundSummary);
    /// Something worth a line: waiting for peers, an aggregator passed over.
    fn note(&mut self, text: &str);
    /// The run is over.
    fn finished(&mut self, summary: &Summary);
}

/// The right kind of progress for this process's stderr: a bar on a terminal, plain lines elsewhere.
#[must_use]
pub fn to_stderr() -> Box<dyn Progress + Send> {
    if io::stderr().is_terminal() { Box::new(Bar::default()) } else { Box::new(Lines::new(io::stderr())) }
}

fn outcome(summary: &Summary) -> String {
    let gain = summary.gain().map(|gain| format!(", {:+.2} points over local training", 100.0 * gain));
    format!(
        "{} of {} rounds certified in {}: accuracy {:.2} %{}",
        summary.rounds_certified,
        summary.rounds,
        HumanDuration(Duration::try_from_secs_f64(summary.seconds.total).unwrap_or_default()),
        100.0 * summary.accuracy.last,
        gain.unwrap_or_default()
    )
}

/// A bar with one tick per certified round.
#[derive(Debug, Default)]
pub struct Bar {
    bar: Option<ProgressBar>,
}

/// How often the bar redraws while nothing happens, so that one sees that the run is alive.
const REDRAW: Duration = Duration::from_millis(200);

/// Before the first round there is nothing to estimate from.
const WAITING: &str = "{prefix} {spinner} [{bar:18}] {pos}/{len}  {elapsed}  {wide_msg}";
const RUNNING: &str = "{prefix} {spinner} [{bar:18}] {pos}/{len}  {elapsed}, {eta} left  {wide_msg}";

fn set_style(bar: &ProgressBar, template: &str) {
    // Only a misspelt template is an error, and then the plain bar remains.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

impl Progress for Bar {
    fn started(&mut self, run: &RunStart) {
        let bar = ProgressBar::with_draw_target(Some(run.rounds), ProgressDrawTarget::stderr());
        set_style(&bar, WAITING);
        bar.set_prefix(run.label.clone());
        bar.set_message(format!("starting {} peers", run.nodes));
        bar.enable_steady_tick(REDRAW);
        self.bar = Some(bar);
    }

    fn round(&mut self, round: &RoundSummary) {
        if let Some(bar) = &self.bar {
            set_style(bar, RUNNING);
            bar.set_message(round.short());
            bar.set_position(round.round);
        }
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => {
                // Nobody can be told that stderr is gone.
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }

    fn finished(&mut self, summary: &Summary) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let _ = writeln!(io::stderr(), "{}", outcome(summary));
    }
}

/// Plain lines, for logs and pipes.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    rounds: u64,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, rounds: 0 }
    }

    fn say(&mut self, line: &str) {
        // A closed pipe must not end a run.
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }
}

impl<W: Write> Progress for Lines<W> {
    fn started(&mut self, run: &RunStart) {
        self.rounds = run.rounds;
        self.say(&format!("{}: starting {} peers for {} rounds", run.label, run.nodes, run.rounds));
    }

    fn round(&mut self, round: &RoundSummary) {
        self.say(&format!("round {}/{}  {}", round.round, self.rounds, round.line()));
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }

    fn finished(&mut self, summary: &Summary) {
        self.say(&outcome(summary));
    }
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&mut self, _: &RunStart) {}
    fn round(&mut self, _: &RoundSummary) {}
    fn note(&mut self, _: &str) {}
    fn finished(&mut self, _: &Summary) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::results::fixture;

    fn told(view: u32) -> String {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        lines.started(&RunStart { label: "fedmoe".into(), nodes: 8, rounds: 10 });
        lines.round(&RoundSummary { round: 3, view, aggregator: "peer-5".into(), accuracy: 0.8125, seconds: 2.04 });
        lines.finished(&fixture::fedmoe().summary);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_pipe_gets_a_line_at_once_one_per_round_and_the_outcome() {
        let text = told(0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "fedmoe: starting 8 peers for 10 rounds");
        assert_eq!(lines[1], "round 3/10  accuracy 81.25 %  2.0 s  aggregated by peer-5");
        assert!(lines[2].starts_with("10 of 10 rounds certified in"), "{text}");
        assert!(lines[2].contains("points over local training"), "{text}");
    }

    #[test]
    fn an_aggregator_that_was_passed_over_is_told() {
        assert!(told(1).contains("aggregated by peer-5 (second in line)"));
    }
}
