//! The limits of a scenario's settings.

use fedswarm_protocol::membership::MAX_MEMBERS;

use super::{Cap, MAX_NODES, Partition, Scenario};
use crate::Error;

/// The most rounds of one run. Too low: long runs are refused; every round is kept in memory for the report.
const MAX_ROUNDS: u64 = 100_000;

impl Scenario {
    /// Checks every setting by itself. What needs the data (more peers than samples, say) is checked where it is read.
    ///
    /// # Errors
    /// [`Error::Setting`] for the first setting that cannot work.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(nodes) = self.nodes {
            let most = if self.trains() { MAX_NODES } else { MAX_MEMBERS };
            require((1..=most).contains(&nodes), "nodes", "--nodes", nodes, format!("1 to {most}"))?;
        }
        let rounds = self.rounds;
        require((1..=MAX_ROUNDS).contains(&rounds), "rounds", "--rounds", rounds, format!("1 to {MAX_ROUNDS}"))?;
        require(!self.method.is_empty(), "method", "--method", "empty", "a method's name, such as fedmoe")?;
        let most = self.nodes.unwrap_or(MAX_NODES);
        require((1..=most).contains(&self.hosts), "hosts", "--hosts", self.hosts, format!("1 to {most}"))?;
        if let Some(empty) = self.models.iter().position(String::is_empty) {
            let is = format!("empty at place {}", empty + 1);
            require(false, "models", "--models", is, "names of architectures, separated by commas")?;
        }
        self.validate_partition()?;
        if let Some(Cap::At { train, test }) = self.cap {
            let should = "at least 1 image to train on and 1 to test on, such as 200/100";
            require(train >= 1 && test >= 1, "cap", "--cap", format!("{train}/{test}"), should)?;
        }
        if let Some(cap) = self.cap_per_class {
            require(cap >= 1, "cap_per_class", "--cap-per-class", cap, "at least 1 image of a class")?;
        }
        require(self.batch >= 1, "batch", "--batch", self.batch, "at least 1 image per step")?;
        if let Some(Cap::At { train, .. }) = self.cap {
            // A tail that fills no batch is dropped: a batch beyond the cap would train nothing, silently.
            let should = format!("at most {train}, the cap on training images: a larger batch would never be full");
            require(self.batch <= train, "batch", "--batch", self.batch, should)?;
        }
        let lr = self.lr;
        require(lr.is_finite() && lr > 0.0, "lr", "--lr", lr, "a number above 0, such as 0.01")?;
        require(self.epochs >= 1, "epochs", "--epochs", self.epochs, "at least 1 pass over the images")?;
        if let Some(threads) = self.threads {
            require(threads >= 1, "threads", "--threads", threads, "at least 1; leave it out to use every core")?;
        }
        if let Some(virtual_time) = &self.virtual_time {
            virtual_time.validate(self)?;
        }
        self.timers.validate()
    }

    /// Whether the peers train; only a virtual world can do without.
    #[must_use]
    pub fn trains(&self) -> bool {
        self.virtual_time.as_ref().is_none_or(|virtual_time| virtual_time.training)
    }

    fn validate_partition(&self) -> Result<(), Error> {
        match self.partition {
            Partition::Dirichlet(alpha) => {
                let sound = alpha.is_finite() && alpha > 0.0;
                require(sound, "partition.dirichlet", "--dirichlet", alpha, "a number above 0, such as 0.1")
            }
            Partition::ClassesPerNode(classes) => {
                require(classes >= 1, "partition.classes_per_node", "--classes-per-node", classes, "at least 1 class")
            }
            Partition::File(_) | Partition::Iid => Ok(()),
        }
    }
}

fn require(
    sound: bool,
    field: &'static str,
    flag: &'static str,
    is: impl ToString,
    should: impl Into<String>,
) -> Result<(), Error> {
    if sound { Ok(()) } else { Err(Error::Setting { field, flag, is: is.to_string(), should: should.into() }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenario::{Transport, VirtualTime};

    #[test]
    fn the_default_scenario_is_sound() {
        Scenario::default().validate().unwrap();
    }

    #[test]
    fn each_setting_out_of_range_is_named_with_its_flag_value_and_range() {
        type Break = fn(&mut Scenario);
        let cases: [(Break, [&str; 3]); 12] = [
            (|s| s.nodes = Some(0), ["--nodes", "is 0", "1 to 64"]),
            (|s| s.nodes = Some(65), ["--nodes", "is 65", "1 to 64"]),
            (|s| s.rounds = 0, ["--rounds", "is 0", "1 to"]),
            (|s| s.method.clear(), ["--method", "empty", "fedmoe"]),
            (|s| s.models = vec!["a".into(), String::new()], ["--models", "place 2", "names"]),
            (|s| s.partition = Partition::Dirichlet(0.0), ["--dirichlet", "is 0", "above 0"]),
            (|s| s.partition = Partition::ClassesPerNode(0), ["--classes-per-node", "is 0", "at least 1"]),
            (|s| s.cap = Some(Cap::At { train: 0, test: 9 }), ["--cap", "0/9", "200/100"]),
            (|s| s.lr = f64::NAN, ["--lr", "NaN", "above 0"]),
            (|s| s.lr = -1.0, ["--lr", "-1", "above 0"]),
            (|s| s.epochs = 0, ["--epochs", "is 0", "at least 1"]),
            (|s| s.threads = Some(0), ["--threads", "is 0", "every core"]),
        ];
        for (spoil, words) in cases {
            let mut scenario = Scenario::default();
            spoil(&mut scenario);
            let error = scenario.validate().unwrap_err();
            assert!(error.is_bad_input());
            let message = error.to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message} lacks one of {words:?}");
        }
    }

    #[test]
    fn a_thousand_nodes_are_taken_only_in_a_virtual_world_without_training() {
        let virtual_time = VirtualTime { training: false, ..VirtualTime::default() };
        let large = Scenario {
            nodes: Some(1_000),
            transport: Transport::Virtual,
            virtual_time: Some(virtual_time.clone()),
            ..Scenario::default()
        };
        large.validate().unwrap();
        let message = |s: Scenario| s.validate().unwrap_err().to_string();
        assert!(message(Scenario { nodes: Some(16_385), ..large.clone() }).contains("1 to 16384"));
        let trains = Some(VirtualTime { training: true, ..virtual_time });
        assert!(message(Scenario { virtual_time: trains, ..large.clone() }).contains("1 to 64"));
        assert!(message(Scenario { transport: Transport::Tcp, ..large }).contains("virtual"));
    }

    #[test]
    fn a_batch_beyond_the_cap_is_refused_because_it_would_train_nothing() {
        let mut scenario = Scenario { cap: Some(Cap::At { train: 8, test: 8 }), ..Scenario::default() };
        assert!(scenario.validate().unwrap_err().to_string().contains("--batch"));
        scenario.batch = 8;
        scenario.validate().unwrap();
    }

    #[test]
    fn a_timer_of_zero_is_refused_by_name() {
        let mut scenario = Scenario::default();
        scenario.timers.t_collect_ms = 0;
        assert!(scenario.validate().unwrap_err().to_string().contains("timers.t_collect_ms"));
    }
}
