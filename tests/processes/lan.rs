//! A local network without anything but hosts: no entry point, no address that anybody was told.

use std::time::Duration;

use crate::network::{Founded, Place};
use crate::paths::all_connected;
use crate::world::{Needs, World, within};

const HOSTS: usize = 5;

/// As promised for a local network.
const BOUND: Duration = Duration::from_secs(5);

/// Hosts on one switch that find each other by multicast.
struct Lan<'a>(&'a World);

impl Place for Lan<'_> {
    fn wrapper(&self, number: usize) -> Vec<String> {
        self.0.wrapper(number)
    }

    fn listen(&self, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn has_entry_point(&self) -> bool {
        false
    }

    fn mdns(&self) -> bool {
        true
    }
}

#[test]
fn five_hosts_on_one_switch_find_each_other_and_certify() {
    within("lan::five_hosts_on_one_switch_find_each_other_and_certify", Needs::Namespaces, |world| {
        let lan = Lan(world);
        let mut founded = Founded::of(HOSTS, 3, 2_000);
        let run = founded.start(&lan, |_| None);
        let took = all_connected(&run);
        println!("{HOSTS} hosts, mDNS only: all connected {:.2} s after the last start", took.as_secs_f64());
        assert!(took <= BOUND);
        let outcome = run.finish();
        assert!(outcome.rounds.values().all(|(_, inputs)| usize::from(*inputs) == HOSTS), "{:?}", outcome.rounds);
    });
}
