#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::*;
use crate::progress::{Lines, Silent};
use crate::results::fixture;

fn grid(methods: &[&str], seeds: &[u64], out: &Path) -> Grid {
    let scenario = Scenario { nodes: Some(4), rounds: 5, ..Scenario::default() };
    let methods = methods.iter().map(|m| (*m).to_owned()).collect();
    Grid { methods, seeds: seeds.to_vec(), scenario, out: out.to_path_buf(), at: Vec::new(), reach: None }
}

/// A made-up run: every method holds the same images with one seed; the accuracy is what the test says.
fn fake(scenario: &Scenario, accuracy: f64) -> Results {
    let mut results = fixture::run(scenario.nodes.unwrap(), scenario.rounds, scenario.seed);
    results.scenario = scenario.clone();
    results.summary.method.clone_from(&scenario.method);
    results.summary.accuracy.last = accuracy;
    *results.summary.accuracy.by_round.last_mut().unwrap() = accuracy;
    results
}

fn by_method(scenario: &Scenario, _: &mut dyn Progress) -> Result<Results, Error> {
    let gain = match scenario.method.as_str() {
        "fedmoe" => 0.05 + 0.002 * scenario.seed as f64,
        "moe-local" => 0.01,
        _ => 0.0,
    };
    Ok(fake(scenario, 0.8 + 0.01 * scenario.seed as f64 + gain))
}

/// How many cells were not taken from the folder.
fn cells_run(grid: &Grid) -> usize {
    let mut ran = 0;
    grid.run(&mut Silent, |scenario, progress| {
        ran += 1;
        by_method(scenario, progress)
    })
    .unwrap();
    ran
}

#[test]
fn every_method_is_compared_with_the_first_and_the_flagship_with_its_control() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local", "moe-local", "fedmoe"], &[1, 2, 3], folder.path());
    let comparison = grid.run(&mut Silent, by_method).unwrap();
    let named: Vec<String> = comparison.pairs.iter().map(|p| format!("{}-{}", p.method, p.against)).collect();
    assert_eq!(named, ["moe-local-local", "fedmoe-local", "fedmoe-moe-local"]);
    // By hand: .052 .054 .056, mean .054, deviation .002, half width 4.303 * .002 / sqrt 3.
    let difference = comparison.pairs[1].difference;
    let (low, high) = difference.interval.unwrap();
    assert!((difference.mean - 0.054).abs() < 1e-9);
    assert!((high - low - 2.0 * 4.303 * 0.002 / 3.0_f64.sqrt()).abs() < 1e-5);
    assert!(difference.is_clear());
}

#[test]
fn a_stopped_grid_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local", "fedmoe"], &[1, 2], folder.path());
    let mut ran = 0;
    let error = grid
        .run(&mut Silent, |scenario, progress| {
            ran += 1;
            if ran == 3 {
                Err(Error::Interrupted { done: 0, rounds: 1, kept: false })
            } else {
                by_method(scenario, progress)
            }
        })
        .unwrap_err();
    assert!(matches!(error, Error::Stopped { finished: 2, total: 4 }), "{error}");

    let mut again = Vec::new();
    let comparison = grid
        .run(&mut Silent, |scenario, progress| {
            again.push((scenario.method.clone(), scenario.seed));
            by_method(scenario, progress)
        })
        .unwrap();
    assert_eq!(again, [("local".to_owned(), 2), ("fedmoe".to_owned(), 2)]);
    assert_eq!(comparison.methods[0].points[0].by_seed.len(), 2);
}

#[test]
fn a_cell_of_another_scenario_is_neither_reused_nor_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let mut grid = grid(&["local"], &[1], folder.path());
    grid.run(&mut Silent, by_method).unwrap();
    grid.scenario.lr = 0.1;
    assert_eq!(cells_run(&grid), 1, "the new scenario is run");
    grid.scenario.lr = 0.01;
    assert_eq!(cells_run(&grid), 0, "the old one's cell was still there");
}

#[test]
fn the_number_of_threads_does_not_make_another_cell() {
    let folder = tempfile::tempdir().unwrap();
    let mut grid = grid(&["local"], &[1], folder.path());
    grid.run(&mut Silent, by_method).unwrap();
    grid.scenario.threads = Some(1);
    grid.run(&mut Silent, |_, _| panic!("the finished cell was run again")).unwrap();
}

#[test]
fn a_damaged_or_unfinished_cell_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local"], &[1], folder.path());
    grid.run(&mut Silent, by_method).unwrap();
    let cell = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let results = cell.join(crate::results::RESULTS_FILE);
    let text = std::fs::read(&results).unwrap();
    std::fs::write(&results, &text[..text.len() / 2]).unwrap();
    assert_eq!(cells_run(&grid), 1);
    assert_eq!(std::fs::read(&results).unwrap().len(), text.len(), "the cell is whole again");
}

#[test]
fn a_cell_that_answers_another_question_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local"], &[1], folder.path());
    grid.run(&mut Silent, by_method).unwrap();
    let cell = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    // The folder's name carries only a short digest; the whole question lies inside.
    std::fs::write(cell.join("cell.json"), "another question").unwrap();
    assert_eq!(cells_run(&grid), 1);
}

#[test]
fn a_failed_cell_is_named_and_leaves_no_cell_behind() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local"], &[7], folder.path());
    let error = grid
        .run(&mut Silent, |scenario, _| {
            std::fs::write(scenario.out.clone().unwrap().join("half"), b"x").unwrap();
            Err(Error::Unfair("broken".into()))
        })
        .unwrap_err();
    assert!(error.to_string().contains("local seed 7"), "{error}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(names.iter().all(|path| path.extension().is_some_and(|e| e == "partial")), "{names:?}");
}

#[test]
fn a_run_cut_short_does_not_stand_beside_full_ones() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local"], &[1], folder.path());
    let short = |scenario: &Scenario, progress: &mut dyn Progress| {
        let mut results = by_method(scenario, progress)?;
        results.summary.rounds_certified = 3;
        Ok(results)
    };
    let error = grid.run(&mut Silent, short).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("3 of 5 rounds were certified"), "{source}");
    // The next attempt starts over and succeeds.
    grid.run(&mut Silent, by_method).unwrap();
}

#[test]
fn a_changed_partition_file_makes_another_cell() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.json");
    let mut grid = grid(&["local"], &[1], &folder.path().join("out"));
    grid.scenario.partition = crate::scenario::Partition::File(file.clone());
    let missing = grid.run(&mut Silent, by_method).unwrap_err();
    assert!(missing.is_bad_input() && missing.to_string().contains("p.json"), "{missing}");
    let mut ran = 0;
    for text in ["{}", "{}", "{ }"] {
        std::fs::write(&file, text).unwrap();
        grid.run(&mut Silent, |scenario, progress| {
            ran += 1;
            by_method(scenario, progress)
        })
        .unwrap();
    }
    assert_eq!(ran, 2);
}

#[test]
fn runs_that_hold_other_images_are_not_compared() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local", "fedmoe"], &[3], folder.path());
    let error = grid
        .run(&mut Silent, |scenario, progress| {
            let mut results = by_method(scenario, progress)?;
            if scenario.method == "fedmoe" {
                results.peers[2].label_counts.rotate_left(1);
            }
            Ok(results)
        })
        .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("seed 3") && message.contains("peer-2"), "{message}");
}

#[test]
fn progress_names_the_cell_and_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    grid(&["local"], &[1, 2], folder.path()).run(&mut Lines::new(&mut out), by_method).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("cell 1 of 2: local seed 1\n"), "{text}");
    assert!(text.contains("cell 2 of 2: local seed 2, about"), "{text}");
}

#[test]
fn a_method_named_twice_and_a_round_beyond_the_end_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let twice = grid(&["local", "local"], &[1], folder.path());
    assert!(twice.run(&mut Silent, by_method).unwrap_err().to_string().contains("local twice"));
    let beyond = Grid { at: vec![6], ..grid(&["local"], &[1], folder.path()) };
    assert!(beyond.run(&mut Silent, by_method).unwrap_err().to_string().contains("1 to 5"));
}

#[test]
fn tables_and_files_tell_the_same_story() {
    let folder = tempfile::tempdir().unwrap();
    let grid = Grid { at: vec![2], ..grid(&["local", "fedmoe"], &[1, 2, 3], folder.path()) };
    let comparison = grid.run(&mut Silent, by_method).unwrap();
    // local: .81 .82 .83.
    assert!(comparison.table().contains("82.00 ± 1.00"), "{}", comparison.table());
    let markdown = comparison.markdown();
    assert!(markdown.contains("| fedmoe − local | 5 | +5.40 |"), "{markdown}");
    assert!(markdown.contains("accuracy at 2") && markdown.contains("accuracy at 5"), "{markdown}");
    comparison.write(folder.path()).unwrap();
    let csv = std::fs::read_to_string(folder.path().join("compare.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 3 * 6, "every round, the untrained models' too");
    assert!(csv.contains("local,3,5,0.830000"), "{csv}");
    let csv = std::fs::read_to_string(folder.path().join("methods.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 2 * 3);
    assert!(csv.contains("local,3,0.830000"), "{csv}");
    let json: Comparison = serde_json::from_slice(&std::fs::read(folder.path().join("compare.json")).unwrap()).unwrap();
    assert_eq!(json.methods.len(), 2);
}

#[test]
fn one_seed_gives_differences_and_no_interval() {
    let folder = tempfile::tempdir().unwrap();
    let comparison = grid(&["local", "fedmoe"], &[1], folder.path()).run(&mut Silent, by_method).unwrap();
    assert_eq!(comparison.pairs[0].difference.interval, None);
    assert!(comparison.table().contains("no interval can be given"));
}

/// A run whose accuracy after round `r` is `r / 10`, and with seed 3 half of that.
fn rising(scenario: &Scenario, _: &mut dyn Progress) -> Result<Results, Error> {
    let slower = if scenario.seed == 3 { 0.5 } else { 1.0 };
    let mut results = fake(scenario, 0.5 * slower);
    results.summary.accuracy.by_round = (0..=scenario.rounds).map(|r| slower * r as f64 / 10.0).collect();
    Ok(results)
}

#[test]
fn the_table_says_after_how_many_rounds_an_accuracy_is_reached_and_by_how_many_seeds() {
    let folder = tempfile::tempdir().unwrap();
    for (reach, round, seeds, text) in [
        (0.2, Some(8.0 / 3.0), 3, "2.7"),
        (0.25, Some(11.0 / 3.0), 3, "3.7"),
        (0.4, Some(4.0), 2, "4 (2 of 3)"),
        (0.6, None, 0, "never"),
    ] {
        let grid = Grid { reach: Some(reach), ..grid(&["local"], &[1, 2, 3], folder.path()) };
        let comparison = grid.run(&mut Silent, rising).unwrap();
        let reached = comparison.methods[0].reached.clone().unwrap();
        assert_eq!((reached.round, reached.seeds), (round, seeds), "{reach}");
        let table = comparison.table();
        assert!(table.contains(&format!("rounds to {} %", 100.0 * reach)) && table.contains(text), "{table}");
    }
    for reach in [0.0, -0.1, 1.01, f64::NAN] {
        let grid = Grid { reach: Some(reach), ..grid(&["local"], &[1], folder.path()) };
        let error = grid.run(&mut Silent, rising).unwrap_err();
        assert!(error.is_bad_input() && error.to_string().contains("--reach"), "{error}");
    }
    let without = grid(&["local"], &[1], folder.path()).run(&mut Silent, rising).unwrap();
    assert!(!without.table().contains("rounds to"));
}

#[test]
fn the_page_has_every_curve_in_one_plot_and_nothing_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..21).map(|i| format!("method-{i}:a=<{i}>")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut comparison = grid(&names, &[1, 2], folder.path()).run(&mut Silent, by_method).unwrap();
    comparison.command = "fedswarm compare --methods <many>".to_owned();
    comparison.write(folder.path()).unwrap();
    let page = std::fs::read_to_string(folder.path().join("compare.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 1, "one plot");
    assert_eq!(page.matches("class=\"method-line\"").count(), 21);
    assert_eq!(page.matches("class=\"seed-line\"").count(), 42);
    let mut places: Vec<f64> = page
        .split("class=\"method-name\"")
        .skip(1)
        .map(|rest| rest.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
        .collect();
    places.sort_by(f64::total_cmp);
    assert!(places.windows(2).all(|pair| pair[1] - pair[0] > 15.0), "no name covers another: {places:?}");
    for outside in ["http:", "https:", "<script", "<link", "url(", "src=", "<many>", "a=<"] {
        assert!(!page.contains(outside), "the page contains {outside}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn a_cell_without_what_is_compared_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let grid = grid(&["local"], &[1], folder.path());
    let old = |scenario: &Scenario, progress: &mut dyn Progress| {
        let mut results = by_method(scenario, progress)?;
        results.summary.bytes.exchange = None;
        Ok(results)
    };
    grid.run(&mut Silent, old).unwrap();
    assert_eq!(cells_run(&grid), 1);
}
