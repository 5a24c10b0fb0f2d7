//! Worlds drawn from a seed, within the ranges of the design, section 6.2. Each kind of fault is left out of about a third
//! of the worlds, so that the others show what they do alone.

use fedswarm_protocol::certificate::Quorum;

use super::adversaries::Vice;
use super::faults::Split;
use super::keys::Signatures;
use super::options::{Churn, Disks, Faults, Links, Options, Waits, Work};
use super::rng::Rng;

/// Members and how many of a thousand worlds have so many.
const SIZES: [(u16, u64); 9] = [(1, 20), (3, 120), (4, 380), (5, 180), (7, 190), (10, 85), (16, 18), (31, 5), (64, 2)];

/// Most nodes of a drawn world that are no members at its beginning.
const MOST_STRANGERS: u64 = 3;

/// Members of a drawn world that vote on newcomers and on each other, at most.
const MOST_THAT_VOTE: u16 = 16;

/// Rounds of a drawn world.
pub const ROUNDS: u64 = 100;

/// Rounds of a drawn world that are left for after the healing.
pub const ROUNDS_AFTER: u64 = 10;

/// The world of a seed. One in forty has real signatures, if it is small.
#[must_use]
pub fn options(seed: u64) -> Options {
    let mut rng = Rng::new("options", seed);
    let members = size(&mut rng);
    let each = members <= 7 && rng.chance(0.04);
    let churn = churn(&mut rng);
    let mut options = Options {
        seed,
        members,
        most_voters: fedswarm_protocol::manifest::MAX_VOTERS as u16,
        strangers: if churn.rate > 0.0 { rng.between(1, MOST_STRANGERS) as u16 } else { 0 },
        sponsor_cap: rng.between(1, 4) as u16,
        rounds: ROUNDS,
        rounds_after: ROUNDS_AFTER,
        epoch_length: rng.between(1, 20) as u32,
        min_inputs: if rng.chance(0.3) { rng.between(1, u64::from(members)) as u16 } else { 0 },
        faults_ms: 1_000 * rng.between(300, 3_600),
        signatures: if each { Signatures::Each } else { Signatures::StandIn },
        timers: Waits {
            collect_ms: rng.between(100, 2_000),
            round_ms: rng.between(3_000, 30_000),
            leader_ms: rng.between(200, 2_000),
            resend_ms: rng.between(100, 1_000),
        },
        links: links(&mut rng),
        disks: disks(&mut rng),
        work: work(&mut rng),
        faults: faults(&mut rng),
        churn,
        hosts: Vec::new(),
        plans: Vec::new(),
        vices: Vec::new(),
        lie_on: rng.chance(0.5),
        vote: false,
    };
    options.vices = vices(&mut rng, members);
    sybils(&mut rng, &mut options);
    if options.strangers > 0 && rng.chance(0.3) {
        // The last stranger stays one, and does what it can about it.
        options.vices.push((members + options.strangers - 1, Vice::InviteForger));
    }
    options.vote = members <= MOST_THAT_VOTE && rng.chance(0.3);
    if rng.chance(0.5) {
        // Liars among them host, too, in their way.
        options.hosts = (0..members).filter(|_| rng.chance(0.4)).collect();
    }
    options
}

/// A Sybil sponsor brings in voters only where its network is made for as many liars.
fn sybils(rng: &mut Rng, options: &mut Options) {
    let sponsors = options.vices.iter().filter(|(_, vice)| *vice == Vice::SybilSponsor).count();
    let liars = options.vices.len() + sponsors * usize::from(options.sponsor_cap());
    let faulty = Quorum::of(usize::from(options.members)).faulty;
    options.churn.sybil_voters = sponsors > 0 && liars <= faulty && rng.chance(0.5);
}

fn churn(rng: &mut Rng) -> Churn {
    Churn { rate: sometimes(rng, 0.2), contributors: sometimes(rng, 0.5), sybil_voters: false }
}

fn size(rng: &mut Rng) -> u16 {
    let total = SIZES.iter().map(|(_, weight)| weight).sum();
    let mut lot = rng.below(total);
    for (size, weight) in SIZES {
        if lot < weight {
            return size;
        }
        lot -= weight;
    }
    4
}

/// A probability below `most`, or none in a third of all worlds.
fn sometimes(rng: &mut Rng, most: f64) -> f64 {
    if rng.chance(0.35) { 0.0 } else { rng.uniform(0.0, most) }
}

fn links(rng: &mut Rng) -> Links {
    let least = rng.between(1_000, 50_000);
    let most = if rng.chance(0.3) { rng.between(least, 500_000) } else { rng.between(least, 100_000) };
    Links {
        latency_us: (least, most),
        jitter_us: rng.between(100, most),
        tail: sometimes(rng, 0.02),
        tail_us: 5_000_000,
        loss: sometimes(rng, 0.3),
        duplicate: sometimes(rng, 0.5),
        bytes_per_s: if rng.chance(0.3) { rng.between(200_000, 10_000_000) } else { 0 },
    }
}

fn disks(rng: &mut Rng) -> Disks {
    Disks {
        sync_us: (rng.between(50, 1_000), rng.between(1_000, 20_000)),
        error: sometimes(rng, 0.01),
        crash_in_write: sometimes(rng, 0.01),
        lost_tail: rng.uniform(0.8, 1.0),
        corrupt: sometimes(rng, 0.1),
        flip_log: sometimes(rng, 0.1),
        flip_blob: sometimes(rng, 0.1),
    }
}

fn work(rng: &mut Rng) -> Work {
    let least = rng.between(1_000, 200_000);
    Work {
        train_us: (least, rng.between(least, 1_500_000)),
        stragglers: sometimes(rng, 0.4),
        slowdown: (1, 50),
        merge_us: (100, rng.between(1_000, 50_000)),
        generate_us: (1_000, 2_000_000),
        payload_bytes: rng.between(1_000, 200_000),
    }
}

fn faults(rng: &mut Rng) -> Faults {
    let mut splits: Vec<Split> = Split::ALL.iter().copied().filter(|_| rng.chance(0.7)).collect();
    if splits.is_empty() {
        splits = Split::ALL.to_vec();
    }
    Faults {
        split: sometimes(rng, 0.03),
        heal: rng.uniform(0.01, 0.1),
        splits,
        clog: sometimes(rng, 0.1),
        clog_ms: 5_000,
        crash: sometimes(rng, 0.02),
        restart: rng.uniform(0.02, 0.3),
        jump: sometimes(rng, 0.01),
        drift_per_mille: if rng.chance(0.5) { rng.below(50) } else { 0 },
        leave: sometimes(rng, 0.002),
    }
}

/// Up to `f` members go wrong on purpose; in half of the worlds that allow it, as many as it allows.
fn vices(rng: &mut Rng, members: u16) -> Vec<(u16, Vice)> {
    let most = Quorum::of(usize::from(members)).faulty as u64;
    let count = if rng.chance(0.5) { most } else { rng.between(0, most) };
    let mut all: Vec<u16> = (0..members).collect();
    rng.shuffle(&mut all);
    all.truncate(count as usize);
    all.sort_unstable();
    // Twins come first in the design, and are drawn as often as three others.
    let choice = |rng: &mut Rng| {
        if rng.chance(0.25) { Vice::Twins } else { Vice::ALL[rng.index(Vice::ALL.len())] }
    };
    all.into_iter().map(|member| (member, choice(rng))).collect()
}
