//! What was done to a world, counted.

use std::ops::AddAssign;

use serde::Serialize;

macro_rules! tally {
    ($($(#[$doc:meta])* $field:ident = $name:literal,)+) => {
        /// Counts of injected faults and lies.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Tally {
            $($(#[$doc])* pub $field: u64,)+
        }

        impl Tally {
            /// Names and counts, in a fixed order.
            #[must_use]
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$(($name, self.$field)),+]
            }

            /// All of them.
            #[must_use]
            pub fn total(&self) -> u64 {
                [$(self.$field),+].iter().sum()
            }
        }

        impl AddAssign for Tally {
            fn add_assign(&mut self, other: Self) {
                $(self.$field += other.$field;)+
            }
        }
    };
}

tally! {
    /// Messages lost on a link.
    lost = "messages lost",
    /// Messages that ran into a split.
    walled = "messages into a split",
    /// Messages that arrived twice.
    copied = "messages doubled",
    /// Splits of any kind, each flap of a flapping one counted.
    splits = "splits",
    /// Links clogged.
    clogs = "clogged links",
    /// Crashes.
    crashes = "crashes",
    /// Of these, how many cut off a write.
    cut_writes = "writes cut off",
    /// Writes that failed.
    disk_errors = "disk errors",
    /// Disks damaged for good.
    corrupt = "disks damaged for good",
    /// Logs with a wrong bit.
    log_flips = "logs with a wrong bit",
    /// Blobs read with a wrong bit.
    blob_flips = "blobs read with a wrong bit",
    /// Clock jumps.
    jumps = "clock jumps",
    /// Members that went away for minutes.
    leaves = "long absences",
    /// Strangers invited.
    invitations = "invitations",
    /// Members that asked to leave.
    departures = "departures",
    /// Members that asked for another key.
    rotations = "changes of keys",
    /// Fetches that failed.
    fetches = "fetches that failed",
    /// Lies told, messages withheld or repeated by adversaries.
    lies = "lies",
}
