//! Twins, systematically (after Bano and others, "Twins: BFT systems made robust", 2020): four members, one of them with two
//! copies; in each of four windows of time the five nodes fall into one to three groups that cannot hear each other. All
//! partitions for all windows are numbered; the seed of each schedule also changes who aggregates when.

use super::adversaries::Vice;
use super::faults::TICK_US;
use super::options::{Options, Waits};
use super::outcome::Outcome;
use super::{World, WorldError};

/// Members; one more node runs, the second twin.
const MEMBERS: u16 = 4;
const NODES: usize = MEMBERS as usize + 1;

/// Windows of time with a partition each.
const WINDOWS: usize = 4;

/// Most groups of a partition.
const GROUPS: u8 = 3;

/// Schedules walk through all combinations with this stride, which has no factor in common with their number, so that any
/// few of them are spread evenly.
const STRIDE: u64 = 1_000_003;

/// Which group each node is in.
type Partition = [u8; NODES];

/// Every way to put the nodes into one to three groups.
#[must_use]
pub fn partitions() -> Vec<Partition> {
    let mut all = vec![[0; NODES]];
    // A node joins a group that is there, or opens the next one.
    for place in 1..NODES {
        let mut longer = Vec::new();
        for partition in &all {
            let opened = partition[..place].iter().max().map_or(0, |most| most + 1);
            for group in 0..=opened.min(GROUPS - 1) {
                let mut next = *partition;
                next[place] = group;
                longer.push(next);
            }
        }
        all = longer;
    }
    all
}

/// Runs one schedule: partitions, then healing, then the last rounds.
///
/// # Errors
/// None: every schedule makes a world.
pub fn run(number: u64, partitions: &[Partition]) -> Result<Outcome, WorldError> {
    let count = partitions.len() as u64;
    let mut digits = number.wrapping_mul(STRIDE) % count.pow(WINDOWS as u32);
    let mut chosen = [[0; NODES]; WINDOWS];
    for window in &mut chosen {
        *window = partitions[(digits % count) as usize];
        digits /= count;
    }
    let window_ms = 200 + 100 * (number % 7);
    let options = Options {
        seed: number,
        members: MEMBERS,
        rounds: 7,
        rounds_after: 3,
        epoch_length: 4,
        faults_ms: WINDOWS as u64 * window_ms,
        timers: Waits { collect_ms: 40, round_ms: 400, leader_ms: 60, resend_ms: 50 },
        vices: vec![((number % u64::from(MEMBERS)) as u16, Vice::Twins)],
        lie_on: number.is_multiple_of(2),
        ..Options::default()
    };
    let mut world = World::new(&options)?;
    let mut window = None;
    let outcome = world.run_watched(&mut |world| {
        let now = (world.core.now / (1_000 * window_ms)) as usize;
        if !world.healed && window != Some(now) {
            if let Some(old) = window.and_then(|w: usize| chosen.get(w)) {
                apart(old, |a, b| world.core.links.unwall(a, b));
            }
            if let Some(new) = chosen.get(now) {
                apart(new, |a, b| world.core.links.wall(a, b));
            }
            window = Some(now);
            let members = world.core.members();
            for a in 0..NODES {
                for b in (0..a).filter(|b| world.core.links.is_open(a, *b)).collect::<Vec<_>>() {
                    world.core.connect(a, b, &members);
                }
            }
        }
        true
    });
    Ok(outcome)
}

fn apart(partition: &Partition, mut each: impl FnMut(usize, usize)) {
    for a in 0..NODES {
        for b in (0..NODES).filter(|b| partition[a] != partition[*b]) {
            each(a, b);
        }
    }
}

/// The shortest window is longer than a turn of the faults, so that every window has one.
const _: () = assert!(200_000 > TICK_US);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn five_nodes_have_forty_one_partitions_into_at_most_three_groups() {
        let all = partitions();
        // Stirling numbers of the second kind: S(5,1) + S(5,2) + S(5,3) = 1 + 15 + 25.
        assert_eq!(all.len(), 41);
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), 41);
    }

    #[test]
    fn ten_thousand_schedules_of_twins_keep_every_invariant() {
        let all = partitions();
        let (mut rounds, mut late) = (0, 0);
        std::thread::scope(|scope| {
            let half = |first: u64| {
                let all = &all;
                scope.spawn(move || {
                    let (mut rounds, mut late) = (0, 0);
                    for number in (first..10_000).step_by(2) {
                        let outcome = run(number, all).unwrap();
                        assert_eq!(outcome.broken, None, "schedule {number}");
                        rounds += outcome.rounds;
                        late += outcome.late_views;
                    }
                    (rounds, late)
                })
            };
            for thread in [half(0), half(1)] {
                let (r, l) = thread.join().unwrap();
                rounds += r;
                late += l;
            }
        });
        assert_eq!(rounds, 70_000);
        assert!(late > 5_000, "the partitions must have disturbed something: {late}");
    }
}
