//! What a generator's host does in some rounds instead of its work: it does nothing, dies, or lies.

use fedswarm_protocol::artefact::{ArtefactShape, Contents};
use fedswarm_protocol::hash::Stream;
use serde::{Deserialize, Serialize};

/// Rounds in which a host does something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The host, a member's number.
    pub host: u16,
    /// The first round: that in which it would make something of the record before.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What it does.
    pub does: Deed,
}

impl Plan {
    /// What a host does in a round; nothing if it does its work.
    #[must_use]
    pub fn deed(plans: &[Self], host: u16, round: u64) -> Option<Deed> {
        let plan = plans.iter().find(|plan| plan.host == host && (plan.from..=plan.to).contains(&round));
        plan.map(|plan| plan.does)
    }
}

/// What a host does instead of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It hosts nothing, and is a member like any other.
    Rests,
    /// It is killed in the middle of its work, and comes back after the last of these rounds.
    Dies,
    /// Pictures of noise for sound latent vectors. Nothing but the generator itself can tell.
    RandomImages,
    /// Each class's picture comes with the latent vector of the next class. Nothing but the generator itself can tell.
    SwappedClasses,
    /// The bits of a float that is not a number among the latent vectors.
    NotANumber,
    /// One byte too few.
    WrongSize,
    /// Ten times as many bytes as an artefact may have at most.
    TenTimes,
}

impl Deed {
    /// Whether an honest host never does it.
    #[must_use]
    pub const fn is_lie(self) -> bool {
        !matches!(self, Self::Rests | Self::Dies)
    }

    /// Whether every voter can tell that it is no artefact.
    #[must_use]
    pub const fn is_obvious(self) -> bool {
        matches!(self, Self::NotANumber | Self::WrongSize | Self::TenTimes)
    }

    /// What a host signs for instead of the artefact that it has made.
    #[must_use]
    pub fn alter(self, shape: &ArtefactShape, honest: Vec<u8>, round: u64) -> Vec<u8> {
        let Ok(mut contents) = Contents::from_bytes(shape, &honest) else { return honest };
        match self {
            Self::Rests | Self::Dies => return honest,
            Self::RandomImages => {
                let mut stream = Stream::new("random images", &[&round.to_le_bytes()]);
                // Pixels are -2^14 to 2^14.
                contents.images.iter_mut().for_each(|q| *q = (stream.below(1 << 15) as i32 - (1 << 14)) as i16);
            }
            Self::SwappedClasses => contents.latents.rotate_left(shape.latent as usize),
            Self::NotANumber => contents.latents[0] = f32::NAN.to_bits() as i32,
            Self::WrongSize => return honest[1..].to_vec(),
            Self::TenTimes => return vec![0; 10 * shape.len(shape.most_pairs()) as usize],
        }
        contents.to_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_obvious_is_refused_and_what_is_not_keeps_its_form() {
        let shape = ArtefactShape { classes: 3, per_class: 2, image: 4, latent: 2, transformer: 1 };
        let honest = Contents {
            classes: vec![0, 1, 2],
            images: vec![5; 12],
            latents: vec![1 << 20, 0, 0, 1 << 20, -(1 << 20), 0],
            transformer: vec![9],
        };
        let altered = |deed: Deed| Contents::from_bytes(&shape, &deed.alter(&shape, honest.to_bytes(), 7));
        for deed in [Deed::NotANumber, Deed::WrongSize, Deed::TenTimes] {
            assert!(deed.is_lie() && deed.is_obvious() && altered(deed).is_err(), "{deed:?}");
        }
        for deed in [Deed::Rests, Deed::Dies] {
            assert!(!deed.is_lie() && altered(deed).unwrap() == honest);
        }
        let noise = altered(Deed::RandomImages).unwrap();
        assert!(noise.images != honest.images && noise.latents == honest.latents);
        let swapped = altered(Deed::SwappedClasses).unwrap();
        assert!(swapped.images == honest.images && swapped.latents[..2] == honest.latents[2..4]);
        assert_eq!(swapped.latents[4..], honest.latents[..2]);
    }

    #[test]
    fn a_plan_is_for_its_host_and_its_rounds() {
        let plans = [Plan { host: 1, from: 3, to: 4, does: Deed::Dies }];
        let deeds = (2..6).map(|round| Plan::deed(&plans, 1, round).is_some());
        assert_eq!(deeds.collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(Plan::deed(&plans, 0, 3), None);
    }
}
