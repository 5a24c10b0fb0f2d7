//! What peers do wrong, how bad it is, and when that is enough.
//!
//! A fault has one of four severities, named for how many of them are borne: one, about 5, about 10, about 50. Faults are forgotten
//! over time; a peer with too many at once is banned for a while: its connections close and it is let in no more. It takes its
//! key to be banned, so nobody can be banned by what another one says of it. Gossipsub's scores, which decide who is in the
//! mesh and who is not heard there, are apart (`gossip.rs`).

mod allowance;
mod ledger;

pub use allowance::Rates;
pub(crate) use allowance::{Allowance, Passage, Sort};
pub(crate) use ledger::Ledger;

/// How often a peer may do something before it is banned, if it does it within minutes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Once is enough.
    Fatal,
    /// About 5 times.
    Low,
    /// About 10 times.
    Mid,
    /// About 50 times.
    High,
}

impl Severity {
    /// How many are too many.
    #[must_use]
    pub const fn tolerance(self) -> u32 {
        match self {
            Self::Fatal => 1,
            Self::Low => 5,
            Self::Mid => 10,
            Self::High => 50,
        }
    }
}

/// What a peer did wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fault {
    /// It announced a frame over the limit, or wrote a byte that means nothing. Every peer checks before it sends, so no honest one
    /// does that.
    BadFrame,
    /// It passed on a message that cannot be decoded, or whose signature is wrong. Honest peers check before they pass on; one with
    /// other software may stray.
    BadMessage,
    /// It served something else than the blob it was asked for, as a broken disk would, too.
    WrongBlob,
    /// It wanted to store a record, or to be named as provider. Discovery here is for addresses only.
    ForeignRecord,
    /// It sends more than it may. Counted once a second at most, so this is what it does all the time.
    Flood,
    /// It wants what is for members. A newcomer may be ahead of us.
    NotAMember,
    /// It began a message and did not end it in time. So does a slow line.
    Stalled,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::BadFrame,
        Self::BadMessage,
        Self::WrongBlob,
        Self::ForeignRecord,
        Self::Flood,
        Self::NotAMember,
        Self::Stalled,
    ];

    /// How bad it is.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::BadFrame => Severity::Fatal,
            Self::BadMessage | Self::WrongBlob | Self::ForeignRecord => Severity::Low,
            Self::Flood => Severity::Mid,
            Self::NotAMember | Self::Stalled => Severity::High,
        }
    }

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::BadMessage => "bad_message",
            Self::WrongBlob => "wrong_blob",
            Self::ForeignRecord => "foreign_record",
            Self::Flood => "flood",
            Self::NotAMember => "not_a_member",
            Self::Stalled => "stalled",
        }
    }
}
