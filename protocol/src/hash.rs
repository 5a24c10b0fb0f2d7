//! Digests, domain-separated: a hash of one kind of thing is never the hash of another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};
use serde::{Deserialize, Serialize};

/// A BLAKE3 digest.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// All zeros: "nothing here", such as the artefact of a round that has none.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// `H(context, message)`: BLAKE3 in key-derivation mode, with the context as its domain.
#[must_use]
pub fn hash(context: &str, message: &[u8]) -> Digest {
    let key = context_key(context);
    let mut hasher = blake3::Hasher::new_from_context_key(&key);
    hasher.update(message);
    Digest(*hasher.finalize().as_bytes())
}

/// Most contexts whose key is remembered. There are about forty, all of them words in the source; too low and a hash of a
/// context beyond them costs a second one.
const MAX_CONTEXTS: usize = 128;

/// The key of a context. It follows from the context alone, and is remembered because deriving it costs as much as hashing
/// a short message.
fn context_key(context: &str) -> ContextKey {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<String, ContextKey>> = const { RefCell::new(BTreeMap::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        if let Some(key) = known.get(context) {
            return *key;
        }
        let key = hash_derive_key_context(&format!("fedswarm v1 {context}"));
        if known.len() < MAX_CONTEXTS {
            known.insert(context.to_owned(), key);
        }
        key
    })
}

/// Bytes that a stream draws at a time: a block of BLAKE3's output, which costs the same for one byte.
const STREAM_BLOCK: usize = 64;

/// An endless stream of bytes drawn from a domain and some parts: all the randomness that peers must share.
#[derive(Debug)]
pub struct Stream {
    reader: blake3::OutputReader,
    block: [u8; STREAM_BLOCK],
    used: usize,
}

impl Stream {
    /// A stream for `context`, seeded by `parts`; each part is framed by its length, so `["ab"]` and `["a", "b"]` differ.
    #[must_use]
    pub fn new(context: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(&format!("fedswarm v1 stream {context}"));
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self { reader: hasher.finalize_xof(), block: [0; STREAM_BLOCK], used: STREAM_BLOCK }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        if self.used == STREAM_BLOCK {
            self.reader.fill(&mut self.block);
            self.used = 0;
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, without bias (rejection sampling); 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let x = self.next_u64();
            if x < limit {
                return x % bound;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits. For local choices only: floats are never part of what peers agree on.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn contexts_separate_equal_messages() {
        assert_ne!(hash("a", b"x"), hash("b", b"x"));
    }

    #[test]
    fn a_remembered_context_gives_what_key_derivation_gives() {
        for _ in 0..2 {
            for context in ["record", "statement", ""] {
                let whole = format!("fedswarm v1 {context}");
                assert_eq!(hash(context, b"message").0, blake3::derive_key(&whole, b"message"));
            }
        }
        for i in 0..2 * MAX_CONTEXTS {
            let whole = format!("fedswarm v1 {i}");
            assert_eq!(hash(&i.to_string(), b"x").0, blake3::derive_key(&whole, b"x"));
        }
    }

    #[test]
    fn a_stream_is_the_extended_output_in_order() {
        let mut bytes = [0; 400];
        let mut hasher = blake3::Hasher::new_derive_key("fedswarm v1 stream t");
        hasher.update(&1u64.to_le_bytes()).update(b"a");
        hasher.finalize_xof().fill(&mut bytes);
        let mut stream = Stream::new("t", &[b"a"]);
        for word in bytes.chunks_exact(8) {
            assert_eq!(stream.next_u64().to_le_bytes(), word);
        }
    }

    #[test]
    fn parts_of_a_stream_are_framed() {
        assert_ne!(Stream::new("t", &[b"ab"]).next_u64(), Stream::new("t", &[b"a", b"b"]).next_u64());
    }

    #[test]
    fn hex_round_trips_and_rubbish_is_refused() {
        let d = hash("a", b"x");
        assert_eq!(Digest::from_hex(&d.to_string()).unwrap(), d);
        assert!(Digest::from_hex("zz").is_none());
        assert!(Digest::from_hex(&"é".repeat(32)).is_none());
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut s = Stream::new("t", &[]);
        let mut counts = [0u32; 5];
        for _ in 0..10_000 {
            counts[s.below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (1_850..2_150).contains(c)), "{counts:?}");
    }
}
