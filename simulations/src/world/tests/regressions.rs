//! Seeds that once broke an invariant.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Once {
    seeds: Vec<u64>,
    broke: String,
    cause: String,
    test: String,
}

#[derive(Deserialize)]
struct List {
    world: Vec<Once>,
}

#[test]
fn seeds_that_once_broke_an_invariant_keep_them_all() {
    let list: List = toml::from_str(include_str!("../../../regressions.toml")).unwrap();
    for once in list.world {
        assert!(!once.cause.is_empty() && !once.test.is_empty());
        for seed in once.seeds {
            let plan = soak::Plan { first: seed, last: Some(seed), time: None, threads: 1 };
            let report = soak::run(&plan, &AtomicBool::new(false), draw::options, |_| ()).unwrap();
            let named: Vec<_> =
                report.breaks.iter().map(|(_, broken)| format!("{} {}", broken.rule, broken.what)).collect();
            assert!(named.is_empty(), "{} (once {}): {}", soak::replay(seed), once.broke, named.join("\n"));
        }
    }
}
