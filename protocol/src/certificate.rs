//! Quorums and the certificates that they make.

use serde::{Deserialize, Serialize};

use crate::envelope::{Kind, Slot, signed_bytes};
use crate::hash::Digest;
use crate::keys::{Ed25519, PublicKey, Scheme, Signature};

/// The numbers that follow from how many voters there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    /// Voters.
    pub voters: usize,
    /// Votes that decide.
    pub quorum: usize,
    /// Voters that may lie or be down without harm to agreement.
    pub faulty: usize,
}

impl Quorum {
    /// With at least four voters a third of them, rounded down, may be Byzantine (`q = floor(2n/3) + 1`); with fewer only
    /// crashes are survived (`q = floor(n/2) + 1`), and a network of one decides alone.
    #[must_use]
    pub const fn of(voters: usize) -> Self {
        if voters >= 4 {
            Self { voters, quorum: 2 * voters / 3 + 1, faulty: (voters - 1) / 3 }
        } else {
            Self { voters, quorum: voters / 2 + 1, faulty: 0 }
        }
    }

    /// True if this many voters tolerate lies and not only crashes.
    #[must_use]
    pub const fn is_byzantine(&self) -> bool {
        self.voters >= 4
    }
}

/// A quorum of equal votes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Certificate {
    /// Notarize, nullify or finalize.
    pub kind: Kind,
    /// Epoch of the votes.
    pub epoch: u32,
    /// Round of the votes.
    pub round: u64,
    /// View of the votes.
    pub view: u32,
    /// The record voted for; zero for nullify.
    pub record: Digest,
    /// Voters and their signatures, by ascending voter.
    pub votes: Vec<(u16, Signature)>,
}

impl Certificate {
    /// Checks that a quorum of different voters signed exactly this.
    #[must_use]
    pub fn is_valid(&self, network: &Digest, voters: &[PublicKey]) -> bool {
        self.is_valid_with(network, voters, &Ed25519)
    }

    /// [`Certificate::is_valid`] with another signature scheme, for simulations.
    #[must_use]
    pub fn is_valid_with(&self, network: &Digest, voters: &[PublicKey], scheme: &dyn Scheme) -> bool {
        let quorum = Quorum::of(voters.len()).quorum;
        let nullify_is_about_nothing = (self.kind == Kind::Nullify) == (self.record == Digest::ZERO);
        if !self.kind.is_vote() || !nullify_is_about_nothing {
            return false;
        }
        if self.votes.len() < quorum || self.votes.len() > voters.len() || !self.votes.is_sorted_by(|a, b| a.0 < b.0) {
            return false;
        }
        let slot = Slot { kind: self.kind, epoch: self.epoch, round: self.round, view: self.view };
        let message = signed_bytes(network, &slot, self.record.as_bytes());
        self.votes.iter().all(|(voter, signature)| {
            voters.get(usize::from(*voter)).is_some_and(|key| scheme.verifies(key, &message, signature))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    fn signed(kind: Kind, record: Digest, voters: &[u16]) -> (Vec<PublicKey>, Digest, Certificate) {
        let secrets: Vec<_> = (0..4u8).map(|i| SecretKey::from_bytes(&[i + 1; 32])).collect();
        let keys = secrets.iter().map(SecretKey::public).collect();
        let network = Digest([9; 32]);
        let slot = Slot { kind, epoch: 0, round: 3, view: 1 };
        let message = signed_bytes(&network, &slot, record.as_bytes());
        let votes = voters.iter().map(|&v| (v, secrets[usize::from(v)].sign(&message))).collect();
        (keys, network, Certificate { kind, epoch: 0, round: 3, view: 1, record, votes })
    }

    #[test]
    fn quorums_intersect_in_an_honest_voter() {
        for n in 4..=64 {
            let q = Quorum::of(n);
            assert!(2 * q.quorum - n > q.faulty, "n = {n}");
            assert!(n - q.faulty >= q.quorum, "n = {n} can decide without its faulty voters");
        }
        assert_eq!([1, 2, 3, 4, 5, 7, 10, 64].map(|n| Quorum::of(n).quorum), [1, 2, 2, 3, 4, 5, 7, 43]);
    }

    #[test]
    fn a_quorum_of_equal_votes_is_a_certificate() {
        let (keys, network, cert) = signed(Kind::Finalize, Digest([1; 32]), &[0, 2, 3]);
        assert!(cert.is_valid(&network, &keys));
        assert!(!cert.is_valid(&Digest([8; 32]), &keys), "another network");
    }

    #[test]
    fn too_few_repeated_foreign_or_altered_votes_are_none() {
        let (keys, network, cert) = signed(Kind::Finalize, Digest([1; 32]), &[0, 2]);
        assert!(!cert.is_valid(&network, &keys), "too few");
        let (_, _, good) = signed(Kind::Finalize, Digest([1; 32]), &[0, 2, 3]);
        let mut twice = good.clone();
        twice.votes[1] = twice.votes[0];
        assert!(!twice.is_valid(&network, &keys), "one voter twice");
        let mut foreign = good.clone();
        foreign.votes[2].0 = 9;
        assert!(!foreign.is_valid(&network, &keys), "no such voter");
        for altered in [
            Certificate { round: 4, ..good.clone() },
            Certificate { view: 0, ..good.clone() },
            Certificate { epoch: 1, ..good.clone() },
            Certificate { record: Digest([2; 32]), ..good.clone() },
            Certificate { kind: Kind::Notarize, ..good.clone() },
            Certificate { kind: Kind::Proposal, ..good },
        ] {
            assert!(!altered.is_valid(&network, &keys));
        }
    }

    #[test]
    fn a_nullification_is_about_no_record() {
        let (keys, network, cert) = signed(Kind::Nullify, Digest::ZERO, &[0, 1, 2]);
        assert!(cert.is_valid(&network, &keys));
        let (keys, network, cert) = signed(Kind::Nullify, Digest([1; 32]), &[0, 1, 2]);
        assert!(!cert.is_valid(&network, &keys));
    }
}
