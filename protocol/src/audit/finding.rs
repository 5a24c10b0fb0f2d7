//! What is not as it should be: where, what was expected, what is there.

use std::fmt;

use crate::hash::Digest;
use crate::record::{Record, RecordKind, Rule};

/// Which part of a run is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The record, or the lists beside it.
    Record,
    /// Its certificate.
    Certificate,
    /// The list of signed inputs as a whole.
    Inputs,
    /// The receipt of a member, by its place in the committee.
    Receipt(u16),
    /// The update header of a member.
    Update(u16),
    /// A payload.
    Payload {
        /// Who signed for it.
        author: u16,
        /// Its root, as it travels.
        root: Digest,
    },
    /// The model that the round's updates are added to.
    Base(Digest),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("record"),
            Self::Certificate => f.write_str("certificate"),
            Self::Inputs => f.write_str("inputs"),
            Self::Receipt(member) => write!(f, "receipt of member {member}"),
            Self::Update(member) => write!(f, "update of member {member}"),
            Self::Payload { author, .. } => write!(f, "payload of member {author}"),
            Self::Base(_) => f.write_str("model of the round before"),
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The round.
    pub round: u64,
    /// Which part of it.
    pub place: Place,
    /// Which field of that part.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { round, place, field, expected, found } = self;
        write!(f, "round {round}: {place}: {field}: expected {expected}, found {found}")
    }
}

/// Values in full, as a finding shows them.
pub(super) trait Show {
    fn show(&self) -> String;
}

impl Show for Digest {
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! show_by_debug {
    ($($kind:ty),*) => {
        $(impl Show for $kind {
            fn show(&self) -> String {
                format!("{self:?}")
            }
        })*
    };
}

show_by_debug!(u16, u32, u64, bool, Vec<u8>, RecordKind, Rule);

/// A field of a record that differs.
pub(super) struct Difference {
    field: &'static str,
    expected: String,
    found: String,
}

impl Difference {
    pub(super) fn at(self, round: u64) -> Finding {
        let Self { field, expected, found } = self;
        Finding { round, place: Place::Record, field: field.to_owned(), expected, found }
    }
}

/// Compares all fields, in the order of their declaration. A field that is not listed here does not compile.
macro_rules! compare {
    ($expected:expr, $found:expr, { $($field:ident),* $(,)? }) => {{
        let (Record { $($field),* }, other): (&Record, &Record) = ($expected, $found);
        $(if *$field != other.$field {
            return Some(Difference {
                field: stringify!($field),
                expected: $field.show(),
                found: other.$field.show(),
            });
        })*
        None
    }};
}

/// The first field in which two records differ.
pub(super) fn first_difference(expected: &Record, found: &Record) -> Option<Difference> {
    compare!(expected, found, {
        version, network, epoch, round, quorum, parent, origin_view, proposer, kind, rule, members_root, receipts_root,
        inputs_root, inputs, prototypes, model_root, protos_root, state_root, artefact_root, ops_root, next_members_root, seed,
        seed_following, seed_fold, skipped_leaders, misses, closes_epoch,
    })
}
