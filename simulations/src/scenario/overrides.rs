//! What the command line sets goes before what a scenario file says.

use std::path::PathBuf;

use super::{Cap, Codec, Data, Device, Partition, Scenario, Transport};

/// A scenario's settings, each only if it was given.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // The fields are those of `Scenario`.
pub struct Overrides {
    pub nodes: Option<usize>,
    pub rounds: Option<u64>,
    pub method: Option<String>,
    pub generator: Option<String>,
    pub hosts: Option<usize>,
    pub models: Option<Vec<String>>,
    pub data: Option<Data>,
    pub partition: Option<Partition>,
    pub cap: Option<Cap>,
    pub cap_per_class: Option<usize>,
    pub batch: Option<usize>,
    pub lr: Option<f64>,
    pub epochs: Option<usize>,
    pub seed: Option<u64>,
    pub shuffle: Option<bool>,
    pub local_baseline: Option<bool>,
    pub generator_baseline: Option<bool>,
    pub transport: Option<Transport>,
    pub codec: Option<Codec>,
    pub device: Option<Device>,
    pub threads: Option<usize>,
    pub out: Option<PathBuf>,
}

impl Scenario {
    /// Puts what was given in place of what was there.
    #[must_use]
    pub fn apply(mut self, overrides: Overrides) -> Self {
        // Taken apart, so that a new field cannot be forgotten here.
        let Overrides {
            nodes,
            rounds,
            method,
            generator,
            hosts,
            models,
            data,
            partition,
            cap,
            cap_per_class,
            batch,
            lr,
            epochs,
            seed,
            shuffle,
            local_baseline,
            generator_baseline,
            transport,
            codec,
            device,
            threads,
            out,
        } = overrides;
        macro_rules! set {
            ($($field:ident),+) => { $(if let Some(value) = $field { self.$field = value; })+ };
        }
        macro_rules! set_option {
            ($($field:ident),+) => { $(if $field.is_some() { self.$field = $field; })+ };
        }
        set!(rounds, method, hosts, models, data, partition, batch, lr, epochs, seed, shuffle, local_baseline);
        set!(generator_baseline, transport, codec, device);
        set_option!(nodes, generator, cap, cap_per_class, threads, out);
        self
    }

    /// The command that repeats this scenario: only what differs from the defaults, in the order of `--help`.
    ///
    /// Timers can only be set in a file; a scenario that changes them cannot be told in flags alone.
    #[must_use]
    pub fn command_line(&self) -> String {
        let plain = Self::default();
        // A flag is a word, or two with its value.
        let mut words = vec!["fedswarm simulate".to_owned()];
        let mut add = |flag: &str, value: Option<String>| {
            words.push(value.map_or_else(|| flag.to_owned(), |value| format!("{flag} {}", quote(&value))));
        };
        macro_rules! changed {
            ($($field:ident => $flag:literal),+) => {
                $(if self.$field != plain.$field { add($flag, Some(self.$field.to_string())); })+
            };
        }
        macro_rules! given {
            ($($field:ident => $flag:literal),+) => {
                $(if let Some(value) = &self.$field { add($flag, Some(value.to_string())); })+
            };
        }
        given!(nodes => "--nodes");
        changed!(rounds => "--rounds", method => "--method");
        given!(generator => "--generator");
        changed!(hosts => "--hosts");
        if !self.models.is_empty() {
            add("--models", Some(self.models.join(",")));
        }
        changed!(data => "--data");
        if self.partition != plain.partition {
            match &self.partition {
                Partition::File(path) => add("--partition", Some(path.display().to_string())),
                Partition::Dirichlet(alpha) => add("--dirichlet", Some(alpha.to_string())),
                Partition::ClassesPerNode(classes) => add("--classes-per-node", Some(classes.to_string())),
                Partition::Iid => add("--iid", None),
            }
        }
        given!(cap => "--cap", cap_per_class => "--cap-per-class");
        changed!(batch => "--batch", lr => "--lr", epochs => "--epochs", seed => "--seed");
        changed!(transport => "--transport", codec => "--codec", device => "--device");
        given!(threads => "--threads");
        if !self.shuffle {
            add("--no-shuffle", None);
        }
        if self.generator_baseline {
            add("--generator-baseline", None);
        }
        if !self.local_baseline {
            add("--no-local-baseline", None);
        }
        words.join(" ")
    }
}

/// Puts single quotes around what a shell would take apart.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_file_and_the_rest_stays() {
        let file = Scenario { rounds: 60, lr: 0.1, threads: Some(2), ..Scenario::default() };
        let scenario = file.apply(Overrides { rounds: Some(3), nodes: Some(4), ..Overrides::default() });
        assert_eq!((scenario.rounds, scenario.nodes), (3, Some(4)));
        assert_eq!((scenario.lr, scenario.threads), (0.1, Some(2)));
    }

    #[test]
    fn the_command_line_names_only_what_was_changed() {
        assert_eq!(Scenario::default().command_line(), "fedswarm simulate");
        let scenario = Scenario {
            nodes: Some(20),
            partition: Partition::Dirichlet(0.5),
            cap: Some(Cap::At { train: 100, test: 100 }),
            seed: 3,
            shuffle: false,
            ..Scenario::default()
        };
        let expected = "fedswarm simulate --nodes 20 --dirichlet 0.5 --cap 100/100 --seed 3 --no-shuffle";
        assert_eq!(scenario.command_line(), expected);
    }

    #[test]
    fn a_path_with_a_space_is_quoted() {
        let scenario = Scenario { data: Data::Path("my images".into()), ..Scenario::default() };
        assert_eq!(scenario.command_line(), "fedswarm simulate --data 'my images'");
    }
}
