//! Reading a scenario file, with errors that name the key and the line.

use std::fs;
use std::path::Path;

use super::{Data, Partition, Scenario};
use crate::Error;

/// The largest scenario file that is read. Too low: a long list of models would be refused.
const MAX_SCENARIO_BYTES: u64 = 1 << 20;

/// Below this likeness a known key is not offered in place of an unknown one: it would only confuse.
const LEAST_LIKENESS: f64 = 0.6;

impl Scenario {
    /// Reads a TOML file. Paths in it (`data`, `partition.file`) are relative to the file's own folder; `out` is
    /// relative to the working directory, as it is on the command line.
    ///
    /// The scenario is not yet checked: flags may still change it. [`Scenario::resolved`] checks it.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Text`] when it is no scenario.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let size = fs::metadata(path).map_err(Error::io("read", path))?.len();
        if size > MAX_SCENARIO_BYTES {
            let problem = format!("{size} bytes are too many for a scenario; at most {MAX_SCENARIO_BYTES} are read");
            return Err(Error::Text { path: path.to_path_buf(), line: None, problem });
        }
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut scenario = Self::parse(&text, path)?;
        if let Some(folder) = path.parent() {
            if let Data::Path(data) = &mut scenario.data {
                *data = folder.join(&*data);
            }
            if let Partition::File(file) = &mut scenario.partition {
                *file = folder.join(&*file);
            }
        }
        Ok(scenario)
    }

    /// Reads TOML text; `path` is only for errors.
    fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Text {
            path: path.to_path_buf(),
            line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            problem: explain(error.message()),
        })
    }
}

/// Rewords serde's "unknown field `a`, expected one of `b`, `c`" so that it offers the nearest known name.
fn explain(message: &str) -> String {
    let kind = if message.starts_with("unknown field") {
        "key"
    } else if message.starts_with("unknown variant") {
        "value"
    } else {
        return message.trim_end().to_owned();
    };
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(given) = quoted.next() else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(given, name);
    let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = match nearest {
        Some(name) if likeness(name) >= LEAST_LIKENESS => format!("; did you mean `{name}`?"),
        _ => String::new(),
    };
    format!("unknown {kind} `{given}`{hint} (known: {})", known.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Cap, Timers};
    use super::*;

    fn parse(text: &str) -> Result<Scenario, String> {
        Scenario::parse(text, Path::new("s.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_scenario() {
        assert_eq!(parse("").unwrap(), Scenario::default());
    }

    #[test]
    fn every_form_of_partition_is_read() {
        for (text, expected) in [
            ("partition = { dirichlet = 0.5 }", Partition::Dirichlet(0.5)),
            ("partition = { classes_per_node = 2 }", Partition::ClassesPerNode(2)),
            ("partition = \"iid\"", Partition::Iid),
            ("[partition]\nfile = \"p.json\"", Partition::File("p.json".into())),
        ] {
            assert_eq!(parse(text).unwrap().partition, expected, "{text}");
        }
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line_and_the_nearest_known_one() {
        let message = parse("seed = 3\nroundz = 4\n").unwrap_err();
        assert!(message.contains("s.toml") && message.contains("line 2"), "{message}");
        assert!(message.contains("unknown key `roundz`; did you mean `rounds`?"), "{message}");
    }

    #[test]
    fn a_misspelt_timer_is_named_too() {
        let message = parse("[timers]\nt_colect_ms = 4\n").unwrap_err();
        assert!(message.contains("did you mean `t_collect_ms`?"), "{message}");
    }

    #[test]
    fn a_key_like_no_other_gets_the_list_and_no_guess() {
        let message = parse("banana = 4\n").unwrap_err();
        assert!(!message.contains("did you mean") && message.contains("known: nodes, rounds"), "{message}");
    }

    #[test]
    fn a_misspelt_value_gets_the_nearest_choice() {
        let message = parse("transport = \"tpc\"\n").unwrap_err();
        assert!(message.contains("unknown value `tpc`; did you mean `tcp`?"), "{message}");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_its_line() {
        let message = parse("rounds = \"ten\"\n").unwrap_err();
        assert!(message.contains("line 1") && message.contains("ten"), "{message}");
    }

    #[test]
    fn a_scenario_survives_the_way_to_a_file_and_back() {
        let scenario = Scenario {
            nodes: Some(20),
            cap: Some(Cap::At { train: 100, test: 100 }),
            partition: Partition::Dirichlet(0.5),
            models: vec!["cnn-1".into()],
            timers: Timers { t_collect_ms: 7, ..Timers::default() },
            ..Scenario::default()
        };
        assert_eq!(parse(&toml::to_string(&scenario).unwrap()).unwrap(), scenario);
    }

    #[test]
    fn paths_in_a_file_are_relative_to_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.toml");
        std::fs::write(&path, "data = \"images\"\npartition = { file = \"p.json\" }\n").unwrap();
        let scenario = Scenario::load(&path).unwrap();
        assert_eq!(scenario.data, Data::Path(folder.path().join("images")));
        assert_eq!(scenario.partition, Partition::File(folder.path().join("p.json")));
    }

    #[test]
    fn a_missing_file_is_bad_input_and_is_named() {
        let error = Scenario::load(Path::new("no-such.toml")).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains("no-such.toml"));
    }

    #[test]
    fn the_shipped_scenarios_load_and_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            Scenario::load(&path).unwrap().resolved(None).unwrap();
            count += 1;
        }
        assert!(count >= 2);
    }
}
