//! What a generator peer added to a run: pictures, and where the prototypes went.

use serde::{Deserialize, Serialize};

/// Rounds whose pictures are kept, spread evenly over the run. Too low and one does not see them change; each costs a few
/// kilobytes a class.
pub const MOST_PICTURED: usize = 8;

/// A picture as a PNG, in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The class that it stands for.
    pub class: u16,
    /// The file's bytes in base64.
    pub png: String,
}

/// A certified artefact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Artefact {
    /// The round whose record certified it.
    pub round: u64,
    /// The round whose prototypes it was made from.
    pub job_round: u64,
    /// The index of the peer that made it.
    pub host: usize,
    /// Peers that got it, and may learn from it.
    pub received: usize,
    /// Alignment loss in the host's first and last pass over the prototypes; absent if the host did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<[f64; 2]>,
    /// A picture of each class, in some rounds only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
}

/// An artefact that a peer refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The round in which it came.
    pub round: u64,
    /// The index of the peer that made it.
    pub host: usize,
    /// Peers that refused it.
    pub by: usize,
    /// Why.
    pub reason: String,
}

/// What a peer found when it trained with an artefact's pairs at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The peer's index.
    pub peer: usize,
    /// The round that it trained for.
    pub round: u64,
    /// The round whose prototypes the artefact was made of.
    pub job_round: u64,
    /// The index of the peer that made it.
    pub host: usize,
    /// Whether the peer refused it.
    pub refused: bool,
    /// The peer's own loss after a few steps with the pairs; absent if it diverged.
    pub with: Option<f64>,
    /// The same after as many steps without them.
    pub without: Option<f64>,
}

/// A prototype before and after its alignment with the generator's latent space, each in a plane of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Projected {
    /// The class.
    pub class: u16,
    /// Where its author put it.
    pub before: [f64; 2],
    /// Where the feature transformer puts it.
    pub after: [f64; 2],
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// What the generator is called, and the hash of its weights in hexadecimal.
    pub generator: String,
    /// Certified artefacts, by round.
    pub artefacts: Vec<Artefact>,
    /// Refused ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
    /// What peers found in their trials, by round and peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// The same swarm without the generator, if it was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<super::Accuracy>,
    /// Some of the peers' own images, by class.
    pub samples: Vec<Picture>,
    /// The prototypes of the last artefact.
    pub prototypes: Vec<Projected>,
}

/// The numbers of so many of `count` things, the first and the last among them, evenly spread.
#[must_use]
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let steps = most.saturating_sub(1).max(1);
    (0..most).map(|i| (i * (count - 1) + steps / 2) / steps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_are_shown_and_nothing_twice() {
        for count in 0..40 {
            let shown = spread(count, MOST_PICTURED);
            assert_eq!(shown.len(), count.min(MOST_PICTURED));
            assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
            assert_eq!((shown.first(), shown.last()), ((count > 0).then_some(&0), count.checked_sub(1).as_ref()));
        }
    }
}
