//! What a world is like. The default is calm: a LAN, healthy disks, and nobody lies.

use serde::{Deserialize, Serialize};

use fedswarm_protocol::manifest::MAX_VOTERS;

use super::adversaries::Vice;
use super::deeds::Plan;
use super::faults::Split;
use super::keys::Signatures;

/// Everything that, with the code, fixes what happens in a world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Fixes all chance.
    pub seed: u64,
    /// Members when the world begins, 1 to 16,384. The first 64 found the network and vote; the others were invited before
    /// the world begins, and contribute.
    pub members: u16,
    /// Of them, how many may vote, at most 64.
    pub most_voters: u16,
    /// Nodes beside them whose keys are no members' when the world begins.
    pub strangers: u16,
    /// Members that one voter may have invited at a time; 0 for as few as the members at the beginning need, and at least 2.
    pub sponsor_cap: u16,
    /// Whether newcomers need the approval of a quorum of the voters, and members are voted out. Not with more than 64 members:
    /// few approvals of a large committee fit into a record.
    pub vote: bool,
    /// Rounds to certify.
    pub rounds: u64,
    /// Of them, how many are left for after the healing.
    pub rounds_after: u64,
    /// Rounds per epoch.
    pub epoch_length: u32,
    /// Fewest updates that make a merge; 0 for half of the voters.
    pub min_inputs: u16,
    /// The longest that the faults may last, in milliseconds of virtual time.
    pub faults_ms: u64,
    /// How signatures are made and checked.
    pub signatures: Signatures,
    /// Waiting times of the protocol.
    pub timers: Waits,
    /// The network.
    pub links: Links,
    /// The disks.
    pub disks: Disks,
    /// How long training and merging take.
    pub work: Work,
    /// What goes wrong by itself.
    pub faults: Faults,
    /// How members come and go.
    pub churn: Churn,
    /// Members that host a generator; without any there is none, and no prototypes.
    pub hosts: Vec<u16>,
    /// What hosts do in some rounds instead of their work. One that lies counts as a liar, but is honest in all else.
    pub plans: Vec<Plan>,
    /// Who goes wrong on purpose.
    pub vices: Vec<(u16, Vice)>,
    /// Whether liars go on lying after the healing, or fall silent.
    pub lie_on: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            members: 4,
            most_voters: MAX_VOTERS as u16,
            strangers: 0,
            sponsor_cap: 0,
            vote: false,
            rounds: 10,
            rounds_after: 0,
            epoch_length: 16,
            min_inputs: 0,
            faults_ms: 3_600_000,
            signatures: Signatures::default(),
            timers: Waits::default(),
            links: Links::default(),
            disks: Disks::default(),
            work: Work::default(),
            faults: Faults::default(),
            churn: Churn::default(),
            hosts: Vec::new(),
            plans: Vec::new(),
            vices: Vec::new(),
            lie_on: false,
        }
    }
}

impl Options {
    /// Members that vote when the world begins.
    #[must_use]
    pub fn voters(&self) -> u16 {
        self.members.min(self.most_voters).min(MAX_VOTERS as u16)
    }

    /// Whether a host's plan has it lie.
    #[must_use]
    pub fn lies(&self, host: u16) -> bool {
        self.plans.iter().any(|plan| plan.host == host && plan.does.is_lie())
    }

    /// Members that one voter may have invited at a time.
    #[must_use]
    pub fn sponsor_cap(&self) -> u16 {
        let (voters, members) = (self.voters().max(1), self.members);
        if self.sponsor_cap == 0 { (members - self.voters()).div_ceil(voters).max(2) } else { self.sponsor_cap }
    }
}

/// The manifest's timers, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// For stragglers, after a quorum of updates.
    pub collect_ms: u64,
    /// For the longest training phase.
    pub round_ms: u64,
    /// For a proposal in view 0.
    pub leader_ms: u64,
    /// Until a stalled member first repeats itself.
    pub resend_ms: u64,
}

impl Default for Waits {
    fn default() -> Self {
        Self { collect_ms: 500, round_ms: 30_000, leader_ms: 500, resend_ms: 200 }
    }
}

/// Links. Times in microseconds, probabilities per message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// Each pair's lasting latency is drawn from this range.
    pub latency_us: (u64, u64),
    /// Added to each message, up to so much: messages overtake each other.
    pub jitter_us: u64,
    /// How often a message takes `tail_us` longer.
    pub tail: f64,
    /// The slow tail.
    pub tail_us: u64,
    /// How often a message is lost.
    pub loss: f64,
    /// How often it arrives twice.
    pub duplicate: f64,
    /// Of each node's uplink; 0 for no limit.
    pub bytes_per_s: u64,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            latency_us: (1_000, 3_000),
            jitter_us: 500,
            tail: 0.0,
            tail_us: 0,
            loss: 0.0,
            duplicate: 0.0,
            bytes_per_s: 0,
        }
    }
}

/// Disks. Probabilities per write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disks {
    /// A durable write takes so many microseconds.
    pub sync_us: (u64, u64),
    /// How often a write fails, which stops the node.
    pub error: f64,
    /// How often the node crashes between a write and what follows it.
    pub crash_in_write: f64,
    /// How often a crash loses the write that it cuts off.
    pub lost_tail: f64,
    /// How often a crash damages the disk for good; such a node must not come back.
    pub corrupt: f64,
    /// How often a node that comes back reads a wrong bit in its log; it must notice, and not come back.
    pub flip_log: f64,
    /// How often a wrong bit is read in a payload or a model; whoever uses it must notice, and read again.
    pub flip_blob: f64,
}

impl Default for Disks {
    fn default() -> Self {
        Self {
            sync_us: (200, 2_000),
            error: 0.0,
            crash_in_write: 0.0,
            lost_tail: 0.9,
            corrupt: 0.0,
            flip_log: 0.0,
            flip_blob: 0.0,
        }
    }
}

/// Work. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Work {
    /// Training takes from so long to so long, drawn anew each round.
    pub train_us: (u64, u64),
    /// Share of nodes that are stragglers.
    pub stragglers: f64,
    /// They take so many times longer.
    pub slowdown: (u64, u64),
    /// A merge takes so long.
    pub merge_us: (u64, u64),
    /// A host makes an artefact in so long.
    pub generate_us: (u64, u64),
    /// Bytes of a payload, for the time that its transfer takes.
    pub payload_bytes: u64,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            train_us: (20_000, 100_000),
            stragglers: 0.0,
            slowdown: (1, 50),
            merge_us: (500, 3_000),
            generate_us: (10_000, 400_000),
            payload_bytes: 100_000,
        }
    }
}

/// Members that come and go, as long as there are faults. They come from among the strangers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Churn {
    /// For each voter of an epoch, how often it leaves, changes its key or invites somebody.
    pub rate: f64,
    /// Of those who are invited, how many are to contribute only.
    pub contributors: f64,
    /// Whether a Sybil sponsor invites voters; otherwise contributors. Its network must be made for as many liars more as it
    /// may invite.
    pub sybil_voters: bool,
}

/// Faults. Probabilities per tick of 100 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// A split begins.
    pub split: f64,
    /// A split ends.
    pub heal: f64,
    /// The kinds of split to choose from.
    pub splits: Vec<Split>,
    /// A link is clogged.
    pub clog: f64,
    /// For at most so many milliseconds.
    pub clog_ms: u64,
    /// A node crashes.
    pub crash: f64,
    /// A crashed node comes back.
    pub restart: f64,
    /// A node's clock jumps.
    pub jump: f64,
    /// Clocks run too fast or too slow by at most so many per mille.
    pub drift_per_mille: u64,
    /// A node goes away for minutes.
    pub leave: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            split: 0.0,
            heal: 0.05,
            splits: Split::ALL.to_vec(),
            clog: 0.0,
            clog_ms: 5_000,
            crash: 0.0,
            restart: 0.1,
            jump: 0.0,
            drift_per_mille: 0,
            leave: 0.0,
        }
    }
}
