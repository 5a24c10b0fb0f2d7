//! What an operator does with a running node: looks at its metrics, changes its lists, stops it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::{Journal, Seen};
use crate::network::{Founded, Loopback, Run};
use crate::phases::Phase;
use crate::process::Process;
use crate::scrape::{get, parse, value, values};

const NODES: usize = 4;
const METRICS: &str = "metrics = \"127.0.0.1:0\"";

fn all() -> Vec<usize> {
    (0..NODES).collect()
}

#[test]
fn a_nodes_metrics_are_well_formed_and_true_and_bad_clients_do_no_harm() {
    let mut founded = Founded::of(NODES, 0, 500).with(METRICS);
    let mut run = founded.start(&Loopback, |_| None);
    run.journal.each("two rounds", &all(), |seen| seen.certified() >= Some(2));
    let at = run.metrics(0);
    let (status, _) = run.fedswarm(0, &["status"]);
    assert_eq!(status["metrics"], at.as_str());

    // Some never say what they want, some say nonsense, and do not listen.
    let silent: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(&at).unwrap()).collect();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(&at).unwrap();
        drop(stream.write_all(&[0xff; 10_000]));
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        drop(stream.read(&mut [0; 10]));
    }
    let (status, page) = get(&at, "/metrics");
    assert_eq!(status, 200);
    assert!(parse(&page).len() > 40, "{page}");
    let round = value(&page, "fedswarm_round_certified");
    let from = run.journal.len();
    run.journal.next("a round meanwhile", &mut from.clone(), |seen| {
        (seen.node == 0 && seen.certified() > Some(round as u64)).then_some(())
    });
    let (_, page) = get(&at, "/metrics");
    assert!(value(&page, "fedswarm_round_certified") > round);
    assert!(value(&page, "fedswarm_certificate_age_seconds") < 60.0);
    assert!(value(&page, "fedswarm_rounds_certified_total") >= 3.0);
    assert!(value(&page, "fedswarm_memory_resident_bytes") > f64::from(1 << 20));
    assert_eq!(values(&page, "fedswarm_members_connected")[0], ("direct".to_owned(), (NODES - 1) as f64));
    assert_eq!(value(&page, "fedswarm_peers_banned"), 0.0);
    for (kind, bytes) in values(&page, "fedswarm_sent_bytes_total") {
        // Voters that are all connected tell each other directly.
        assert!(bytes > 0.0 || ["gossip", "relayed"].contains(&kind.as_str()), "{kind}");
    }
    let phase: f64 = values(&page, "fedswarm_phase").iter().map(|(_, is)| is).sum();
    assert_eq!(phase, 1.0);
    assert_eq!(get(&at, "/health"), (200, "ok\n".to_owned()));
    drop(silent);

    // Without a quorum nothing is well, and the reason is named.
    run.kill(2);
    run.kill(3);
    let began = Instant::now();
    while get(&at, "/health").0 == 200 {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get(&at, "/health"), (503, "2 voters are here, 3 are needed to certify a round\n".to_owned()));
}

/// The regions that glibc's allocator made beside the first one: each takes 64 MiB of addresses at a multiple of that, what is used and then
/// what is not yet.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn further_regions(pid: u32) -> usize {
    const REGION: u64 = 64 << 20;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mapped: Vec<(u64, u64, &str)> = maps
        .lines()
        .map(|line| {
            let (addresses, rest) = line.split_once(' ').unwrap();
            let (from, to) = addresses.split_once('-').unwrap();
            (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap(), &rest[..4])
        })
        .collect();
    let is_one = |pair: &[(u64, u64, &str)]| {
        pair[0].0.is_multiple_of(REGION)
            && (pair[0].2, pair[1].2) == ("rw-p", "---p")
            && pair[1].1 == pair[0].0 + REGION
    };
    mapped.windows(2).filter(|pair| is_one(pair)).count()
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
fn all_threads_of_a_node_allocate_from_one_region() {
    let mut founded = Founded::of(NODES, 0, 500);
    let run = founded.start(&Loopback, |_| None);
    run.journal.each("two rounds", &all(), |seen| seen.certified() >= Some(2));
    for node in all() {
        assert_eq!(further_regions(run.pid(node)), 0, "node {node}");
    }
}

#[test]
fn lists_are_read_again_at_a_hangup_and_rubbish_leaves_them_in_force() {
    let mut founded = Founded::of(NODES, 0, 500);
    let run = founded.start(&Loopback, |_| None);
    run.journal.each("two rounds", &all(), |seen| seen.certified() >= Some(2));
    let file = run.config_file(0);
    let before = fs::read_to_string(&file).unwrap();
    let hangup = |text: &str, event: &str| {
        fs::write(&file, text).unwrap();
        let mut cursor = run.journal.len();
        run.signal(0, "HUP");
        run.journal.next(event, &mut cursor, |seen| (seen.node == 0 && seen.is(event)).then(|| seen.clone()))
    };
    let peer = |connected: bool, cursor: &mut usize| {
        run.journal.next("the peer", cursor, |seen| {
            let it = seen.node == 0 && seen.is("peer") && seen.text("member") == run.key(3);
            (it && seen.is_false("connected") != connected).then_some(())
        });
    };
    let mut cursor = run.journal.len();
    let lists = hangup(&format!("{before}[lists]\nblock = [\"{}\"]\n", run.key(3)), "lists");
    assert_eq!((lists.number("allow"), lists.number("block")), (Some(0), Some(1)));
    peer(false, &mut cursor);

    let refused = hangup(&format!("{before}[lists]\nblock = [\"nonsense\"]\n"), "lists_refused");
    assert!(refused.text("reason").contains("nonsense"), "{refused:?}");
    let refused = hangup("}{", "lists_refused");
    assert!(refused.text("reason").contains("0.toml"), "{refused:?}");
    // The list holds on, and the other three go on: a few rounds, in which nobody comes back.
    let (mut at, since) = (run.journal.len(), run.frontier());
    let certified = |seen: &Seen| (seen.node == 0 && seen.certified() > Some(since + 2)).then_some(());
    run.journal.next("rounds without it", &mut at, certified);
    let back = |seen: &Seen| seen.node == 0 && seen.is("peer") && !seen.is_false("connected");
    assert!(!run.journal.all()[cursor..].iter().any(back), "the blocked peer is back");

    hangup(&before, "lists");
    peer(true, &mut cursor);
    run.interrupt();
}

/// Stops the first aggregator whose round begins, in one way or another: how long the others take for its round, its view, and the
/// updates in it.
fn stop_an_aggregator(run: &mut Run<'_>, stop: impl FnOnce(&mut Run<'_>, usize)) -> (Duration, u64, u64) {
    let from = run.frontier();
    let (node, round) = run.journal.next("an aggregator", &mut run.journal.len(), |seen| {
        let round = Phase::Training.reached(seen).filter(|round| *round > from && seen.node < NODES)?;
        Some((seen.node, round))
    });
    let began = Instant::now();
    stop(run, node);
    let (mut last, mut view, mut inputs) = (began, 0, 0);
    run.journal.each("its round", &run.others(node), |seen| {
        let here = seen.certified() == Some(round);
        if here {
            last = last.max(seen.at);
            (view, inputs) = (seen.number("view").unwrap(), seen.number("inputs").unwrap());
        }
        here
    });
    run.restart(node, None);
    let back = |seen: &Seen| seen.node == node && seen.life == run.lives[node] && seen.certified() > Some(round);
    run.journal.next("it is back", &mut 0, |seen| back(seen).then_some(()));
    (last.saturating_duration_since(began), view, inputs)
}

#[test]
fn an_aggregator_that_is_asked_to_stop_finishes_its_round_and_one_that_is_killed_does_not() {
    let mut founded = Founded::of(NODES, 0, 2_000);
    let mut run = founded.start(&Loopback, |_| None);
    run.journal.each("two rounds", &all(), |seen| seen.certified() >= Some(2));
    let mut took = Duration::ZERO;
    let asked = stop_an_aggregator(&mut run, |run, node| took = run.stop_one(node, "TERM"));
    let killed = stop_an_aggregator(&mut run, |run, node| run.kill(node));
    println!(
        "an aggregator stopped as its round began: certified after {:.2} s in view {} with {} updates when asked (it took {:.2} s \
         to end), {:.2} s in view {} with {} updates when killed",
        asked.0.as_secs_f64(),
        asked.1,
        asked.2,
        took.as_secs_f64(),
        killed.0.as_secs_f64(),
        killed.1,
        killed.2
    );
    assert_eq!((asked.1, asked.2), (0, NODES as u64), "it finished what it had begun");
    assert!(took < Duration::from_secs(12), "it takes no longer than it may");
    assert!(killed.1 > 0 && killed.2 < NODES as u64);
    assert!(asked.0 < killed.0);
    run.interrupt();
}

#[test]
fn a_node_that_cannot_finish_its_round_stops_in_time_and_at_once_if_asked_twice() {
    let mut founded = Founded::of(NODES, 0, 500).with("stop_seconds = 3");
    // These stand still in the middle of the first round that they aggregate.
    let mut run = founded.start(&Loopback, |node| (node < 2).then_some("receipt"));
    let held = |cursor: &mut usize| run.journal.next("one stands still", cursor, |s| s.is("held").then_some(s.node));
    let mut cursor = 0;
    let first = held(&mut cursor);
    let took = run.stop_one(first, "TERM");
    assert!((3..8).contains(&took.as_secs()), "it took {took:?} of 3 s");
    let held = |cursor: &mut usize| run.journal.next("one stands still", cursor, |s| s.is("held").then_some(s.node));
    let second = held(&mut cursor);
    run.signal(second, "TERM");
    std::thread::sleep(Duration::from_millis(300));
    let took = run.stop_one(second, "INT");
    assert!(took < Duration::from_millis(2_500), "asked twice, it took {took:?}");
}

#[test]
fn an_entry_point_has_metrics_health_and_lists_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let lists = folder.path().join("lists.toml");
    let start = |text: &str| {
        fs::write(&lists, text).unwrap();
        let args = "bootstrap --json --listen /ip4/127.0.0.1/tcp/0 --metrics 127.0.0.1:0 --lists lists.toml";
        Process::start(folder.path(), &[], &args.split(' ').map(str::to_owned).collect::<Vec<_>>())
    };
    let journal = Arc::new(Journal::new());
    let mut entry = start("block = [\"203.0.113.0/24\"]\n");
    entry.follow(Arc::clone(&journal), 0, 0);
    let at = journal.next("its metrics", &mut 0, |seen| {
        (!seen.text("metrics").is_empty()).then(|| seen.text("metrics").to_owned())
    });
    let (_, page) = get(&at, "/metrics");
    assert!(parse(&page).len() > 15, "{page}");
    assert_eq!((value(&page, "fedswarm_guests"), value(&page, "fedswarm_bans_total")), (0.0, 0.0));
    assert_eq!(get(&at, "/health"), (200, "ok\n".to_owned()));
    // Rubbish in the file does not end it, nor a hangup.
    fs::write(&lists, "block = [7]").unwrap();
    entry.signal("HUP");
    assert_eq!(get(&at, "/health").0, 200);
    assert!(entry.stop("TERM").success());
    assert_eq!(start("block = [\"nobody\"]\n").wait().code(), Some(2), "it does not start with a list that is none");
}
