//! What the README says of two machines, done word for word: its own commands, each on its machine.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::images::{IMAGES, images};
use crate::journal::{Journal, Seen};
use crate::network::Place as _;
use crate::process::Process;
use crate::world::{Needs, within};

/// The commands of the README's chapter: for which machine, and the words after `fedswarm`.
fn commands() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, chapter) = text.split_once("## Real nodes, on two machines").unwrap();
    let (chapter, _) = chapter.split_once("\n## ").unwrap();
    let blocks = chapter.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks
        .map(|block| {
            let (whose, command) = block.trim().split_once('\n').unwrap();
            let words = command.strip_prefix("fedswarm ").unwrap().split_whitespace().map(str::to_owned);
            (whose.trim_start_matches("# ").to_owned(), words.collect())
        })
        .collect()
}

#[test]
fn two_machines_configured_by_the_readme_alone_certify_rounds_together() {
    within("readme::two_machines_configured_by_the_readme_alone_certify_rounds_together", Needs::Namespaces, |world| {
        let commands = commands();
        let of = |machine: &str| &commands.iter().find(|(whose, _)| whose == machine).unwrap().1;
        assert_eq!(commands.len(), 3);
        let home = tempfile::tempdir().unwrap();
        let machines = ["a", "b"].map(|name| home.path().join(name));
        for (i, machine) in machines.iter().enumerate() {
            images(&machine.join("images"), i * IMAGES);
        }
        let journal = Arc::new(Journal::new());
        let start = |machine: usize, life: usize, words: &[String]| {
            // The same command, so that the test can read what happens.
            let words = [words, &["--json".to_owned()]].concat();
            let mut process = Process::start(&machines[machine], &world.wrapper(machine), &words);
            process.follow(Arc::clone(&journal), machine, life);
            process
        };
        let together = |life: usize| {
            let both =
                move |seen: &Seen| seen.life == life && seen.certified().is_some() && seen.number("inputs") == Some(2);
            journal.each("a round with the updates of both", &[0, 1], both);
        };

        let a = start(0, 0, of("machine A"));
        journal.each("a round alone", &[0], |seen| seen.certified().is_some());
        fs::copy(machines[0].join("clinic/1.invitation"), machines[1].join("1.invitation")).unwrap();
        let b = start(1, 0, of("machine B"));
        together(0);
        for node in [a, b] {
            assert!(node.stop("INT").success());
        }
        let again = [start(0, 1, of("either machine")), start(1, 1, of("either machine"))];
        together(1);
        for node in again {
            assert!(node.stop("TERM").success());
        }
    });
}
