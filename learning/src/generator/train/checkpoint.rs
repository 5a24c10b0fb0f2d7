//! Checkpoints: enough to go on exactly where training stopped.

use fedswarm_protocol::hash::hash;

use super::Trainer;
use crate::Error;

/// Bytes of a digest, of the step's number.
const DIGEST: usize = 32;
const STEP: usize = 8;

impl Trainer {
    /// The state of training: a fingerprint of recipe and images, the step, the networks, and a hash over all of it.
    ///
    /// # Errors
    /// [`Error::Device`] if the device does not hand the weights back.
    pub fn checkpoint(&self) -> Result<Vec<u8>, Error> {
        let mut out = self.fingerprint()?.as_bytes().to_vec();
        out.extend_from_slice(&self.step.to_le_bytes());
        for network in [&self.encoder, &self.synthesis, &self.mapping] {
            out.extend(network.state()?.iter().flat_map(|v| v.to_le_bytes()));
        }
        out.extend_from_slice(hash("generator checkpoint end", &out).as_bytes());
        Ok(out)
    }

    /// Goes on from a checkpoint of the same recipe and images.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is damaged or of another run; the trainer is as it was before.
    pub fn restore(&mut self, checkpoint: &[u8]) -> Result<(), Error> {
        let bad = |reason: &str| Error::Checkpoint(reason.to_owned());
        let networks = [&self.encoder, &self.synthesis, &self.mapping];
        let lengths = networks.map(super::Network::state_len);
        let expected = 2 * DIGEST + STEP + 4 * lengths.iter().sum::<usize>();
        let (body, end) = checkpoint.split_at_checked(checkpoint.len().saturating_sub(DIGEST)).unwrap_or_default();
        if hash("generator checkpoint end", body).as_bytes() != end {
            return Err(bad("it is damaged: its contents do not have the hash that it ends with"));
        }
        if body.get(..DIGEST) != Some(self.fingerprint()?.as_bytes().as_slice()) || checkpoint.len() != expected {
            return Err(bad("it belongs to a training run with other options or other images"));
        }
        let mut step = [0; STEP];
        step.copy_from_slice(&body[DIGEST..DIGEST + STEP]);
        let values: Vec<f32> =
            body[DIGEST + STEP..].chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        let (mut encoder, mut synthesis, mut mapping) =
            (self.encoder.clone(), self.synthesis.clone(), self.mapping.clone());
        let mut rest = values.as_slice();
        for (network, len) in [&mut encoder, &mut synthesis, &mut mapping].into_iter().zip(lengths) {
            let (head, tail) = rest.split_at(len);
            network.restore(head, &self.device)?;
            rest = tail;
        }
        (self.encoder, self.synthesis, self.mapping) = (encoder, synthesis, mapping);
        self.step = u64::from_le_bytes(step);
        self.posterior.clear();
        Ok(())
    }
}
