//! Bytes on their way, read once for all who get them.

use std::sync::Arc;

use fedswarm_protocol::envelope::{Kind, Slot, Verified, Verifier};
use fedswarm_protocol::hash::{Digest, hash};

use super::keys::Keys;

/// A message as it travels. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Packet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    heading: Option<(Slot, u16)>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// Checked once in the world; nodes need not do it again.
    Checked(Verified),
    /// To be checked by every node that gets it.
    Bytes(Vec<u8>),
}

impl Packet {
    /// A packet of any bytes.
    #[must_use]
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        let id = first_word(&hash("packet", &bytes));
        Self(Arc::new(Inner { id, heading: Verifier::peek(&bytes), content: Content::Bytes(bytes) }))
    }

    /// A packet of a message that was checked.
    #[must_use]
    pub fn of(message: &Verified, keys: &Keys) -> Self {
        let statement = first_word(&message.statement());
        let signature =
            message.signature().0.iter().rev().fold(0u64, |word, byte| word.rotate_left(8) ^ u64::from(*byte));
        let heading = Some((*message.slot(), message.author()));
        let content =
            if keys.each { Content::Bytes(message.bytes().to_vec()) } else { Content::Checked(message.clone()) };
        Self(Arc::new(Inner { id: statement ^ signature.rotate_left(17), heading, content }))
    }

    /// Equal for equal packets, and otherwise almost surely different.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// What it claims to be, unchecked; nothing if it is shorter than a header.
    #[must_use]
    pub fn heading(&self) -> Option<(Slot, u16)> {
        self.0.heading
    }

    /// Its kind, unchecked.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.0.heading.map(|(slot, _)| slot.kind)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0.content {
            Content::Checked(message) => message.bytes(),
            Content::Bytes(bytes) => bytes,
        }
    }

    /// The message in it, if it is one.
    #[must_use]
    pub fn open(&self, keys: &Keys) -> Option<Verified> {
        match &self.0.content {
            Content::Checked(message) => Some(message.clone()),
            Content::Bytes(bytes) => keys.open(bytes),
        }
    }
}

fn first_word(digest: &Digest) -> u64 {
    digest.0.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}
