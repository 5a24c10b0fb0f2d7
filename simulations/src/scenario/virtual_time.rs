//! What a virtual world is like, as a scenario says it.

use serde::{Deserialize, Serialize};

use super::{Scenario, Transport};
use crate::Error;
use crate::world::adversaries::Vice;
use crate::world::deeds::Plan;
use crate::world::keys::Signatures;
use crate::world::options::{Churn, Disks, Faults, Links, Options, Waits, Work};
use fedswarm_protocol::certificate::Quorum;
use fedswarm_protocol::manifest::MAX_VOTERS;
use fedswarm_protocol::membership::MAX_MEMBERS;

/// The table `[virtual]`. Absent, the world is calm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VirtualTime {
    /// Fewest updates that make a merge; 0 for half of the peers. All peers makes runs comparable.
    pub min_inputs: u16,
    /// Of the rounds, how many are left for after the healing.
    pub rounds_after: u64,
    /// The longest that the faults may last, in milliseconds of virtual time.
    pub faults_ms: u64,
    /// Whether members train. Without, rounds are about nothing but agreement, there may be as many members as a network can
    /// have, and nothing is written.
    pub training: bool,
    /// How signatures are made and checked.
    pub signatures: Signatures,
    /// The network.
    pub links: Links,
    /// The disks.
    pub disks: Disks,
    /// How long training and merging take, in virtual time.
    pub work: Work,
    /// What goes wrong by itself.
    pub faults: Faults,
    /// How members come and go; without training only.
    pub churn: Churn,
    /// Nodes beside the peers that can be invited; without training only.
    pub strangers: u16,
    /// Rounds per epoch; 0 for the usual number.
    pub epoch_length: u32,
    /// What hosts of a generator do in some rounds instead of their work, such as
    /// `{ host = 0, from = 5, to = 7, does = "dies" }`.
    pub plans: Vec<Plan>,
    /// Who goes wrong on purpose: pairs such as `[3, "liar"]`.
    pub vices: Vec<(u16, Vice)>,
    /// Whether liars go on lying after the healing.
    pub lie_on: bool,
}

impl Default for VirtualTime {
    fn default() -> Self {
        let calm = Options::default();
        Self {
            min_inputs: 0,
            rounds_after: 0,
            faults_ms: calm.faults_ms,
            training: true,
            signatures: Signatures::Once,
            links: calm.links,
            disks: calm.disks,
            work: calm.work,
            faults: calm.faults,
            churn: calm.churn,
            strangers: 0,
            epoch_length: 0,
            plans: Vec::new(),
            vices: Vec::new(),
            lie_on: false,
        }
    }
}

impl VirtualTime {
    /// The world that a scenario describes; its manifest's own numbers are filled in later.
    #[must_use]
    pub fn options(&self, seed: u64, members: u16, rounds: u64) -> Options {
        let mut options = Options { seed, members, rounds, ..Options::default() };
        if self.epoch_length > 0 {
            options.epoch_length = self.epoch_length;
        }
        // Every field by its name: none is forgotten.
        Self {
            min_inputs: options.min_inputs,
            rounds_after: options.rounds_after,
            faults_ms: options.faults_ms,
            signatures: options.signatures,
            links: options.links,
            disks: options.disks,
            work: options.work,
            faults: options.faults,
            plans: options.plans,
            vices: options.vices,
            lie_on: options.lie_on,
            churn: options.churn,
            strangers: options.strangers,
            epoch_length: _,
            training: _,
        } = self.clone();
        options
    }

    /// The world of a scenario whose members do not train, with the scenario's waiting times.
    #[must_use]
    pub fn untrained(scenario: &Scenario) -> Options {
        // At most 1,024.
        let members = scenario.nodes.unwrap_or(super::DEFAULT_NODES) as u16;
        let described = scenario.virtual_time.clone().unwrap_or_default();
        let timers = &scenario.timers;
        Options {
            timers: Waits {
                collect_ms: timers.t_collect_ms,
                round_ms: timers.t_round_ms,
                leader_ms: timers.t_propose_ms,
                resend_ms: timers.t_resend_ms,
            },
            ..described.options(scenario.seed, members, scenario.rounds)
        }
    }

    pub(super) fn validate(&self, scenario: &Scenario) -> Result<(), Error> {
        let refuse = |field: &'static str, is: String, should: String| {
            Err(Error::Setting { field, flag: "scenario file only", is, should })
        };
        if scenario.transport != Transport::Virtual {
            let should = "left out, or used with transport = \"virtual\"".to_owned();
            return refuse("virtual", format!("set for transport {}", scenario.transport), should);
        }
        let nodes = scenario.nodes.unwrap_or(super::DEFAULT_NODES);
        if usize::from(self.min_inputs) > nodes {
            return refuse("virtual.min_inputs", self.min_inputs.to_string(), format!("at most {nodes}, the peers"));
        }
        if self.rounds_after > scenario.rounds {
            let should = format!("at most {}, the rounds", scenario.rounds);
            return refuse("virtual.rounds_after", self.rounds_after.to_string(), should);
        }
        if self.training && (self.strangers > 0 || self.churn.rate > 0.0) {
            let should = "left out, or used with training = false: whoever joins needs images of its own".to_owned();
            return refuse("virtual.churn", format!("{} with {} strangers", self.churn.rate, self.strangers), should);
        }
        if usize::from(self.strangers) + nodes > MAX_MEMBERS {
            let should = format!("with the peers at most {MAX_MEMBERS}");
            return refuse("virtual.strangers", self.strangers.to_string(), should);
        }
        let f = Quorum::of(nodes.min(MAX_VOTERS)).faulty;
        if let Some(plan) = self.plans.iter().find(|plan| usize::from(plan.host) >= scenario.hosts || !self.training) {
            let should =
                format!("plans of hosts, numbered 0 to {}, with training = true", scenario.hosts.saturating_sub(1));
            return refuse("virtual.plans", format!("host {}", plan.host), should);
        }
        let mut lying: Vec<u16> = self.plans.iter().filter(|plan| plan.does.is_lie()).map(|plan| plan.host).collect();
        lying.sort_unstable();
        lying.dedup();
        lying.retain(|host| !self.vices.iter().any(|(member, _)| member == host));
        let mut liars: Vec<u16> = self.vices.iter().map(|(member, _)| *member).collect();
        liars.sort_unstable();
        liars.dedup();
        let all = nodes + usize::from(self.strangers);
        if liars.len() != self.vices.len() || liars.last().is_some_and(|last| usize::from(*last) >= all) {
            let should = format!("one vice for each of some peers, numbered 0 to {}", all - 1);
            return refuse("virtual.vices", format!("{:?}", self.vices), should);
        }
        // Only voters can do harm to agreement.
        let voting = lying.len() + liars.iter().filter(|liar| usize::from(**liar) < nodes.min(MAX_VOTERS)).count();
        if voting > f {
            let should =
                format!("at most {f} of {} voters: with more there is no agreement to test", nodes.min(MAX_VOTERS));
            return refuse("virtual.vices", format!("{voting} voters"), should);
        }
        let probabilities = [
            ("virtual.links.loss", self.links.loss),
            ("virtual.links.duplicate", self.links.duplicate),
            ("virtual.links.tail", self.links.tail),
            ("virtual.disks.error", self.disks.error),
            ("virtual.disks.crash_in_write", self.disks.crash_in_write),
            ("virtual.disks.lost_tail", self.disks.lost_tail),
            ("virtual.disks.corrupt", self.disks.corrupt),
            ("virtual.disks.flip_log", self.disks.flip_log),
            ("virtual.disks.flip_blob", self.disks.flip_blob),
            ("virtual.churn.rate", self.churn.rate),
            ("virtual.churn.contributors", self.churn.contributors),
            ("virtual.work.stragglers", self.work.stragglers),
            ("virtual.faults.split", self.faults.split),
            ("virtual.faults.heal", self.faults.heal),
            ("virtual.faults.clog", self.faults.clog),
            ("virtual.faults.crash", self.faults.crash),
            ("virtual.faults.restart", self.faults.restart),
            ("virtual.faults.jump", self.faults.jump),
            ("virtual.faults.leave", self.faults.leave),
        ];
        for (field, value) in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return refuse(field, value.to_string(), "a probability, 0 to 1".to_owned());
            }
        }
        if self.links.loss > 0.9 {
            return refuse("virtual.links.loss", self.links.loss.to_string(), "at most 0.9".to_owned());
        }
        Ok(())
    }
}
