//! The signed inputs of one round as bytes to keep: what a stranger needs, beside the payloads, to derive its record again.
//!
//! ```text
//! bundle:  "fedswarm inputs 1\n" | (length 4 | message)*      messages ascending by kind and author
//! ```

use crate::envelope::{Kind, MAX_MESSAGE_BYTES, Slot, Verified, Verifier};

/// First bytes of a bundle, so that another file is not taken for a damaged one.
const MAGIC: &[u8] = b"fedswarm inputs 1\n";

/// Largest bundle that is read. An update of each of 256 members and receipts for all of them by a quorum of 64 voters are
/// half a megabyte; too low and rounds of the largest networks cannot be audited.
pub const MAX_BUNDLE_BYTES: usize = 2 * 1024 * 1024;

/// Why bytes are no bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Too long.
    #[error("{0} bytes, more than the inputs of a round can have")]
    TooLong(usize),
    /// Not this format.
    #[error("it does not begin as a list of inputs does")]
    Magic,
    /// The end comes too early, or a length is not one of a message.
    #[error("message {0} is cut short, or its length is wrong")]
    Length(usize),
    /// Bytes that do not begin like an update or a receipt.
    #[error("message {0} is neither an update nor a receipt")]
    Kind(usize),
    /// Messages out of order, or two of one author.
    #[error("message {0} is out of order")]
    Order(usize),
}

/// Packs the updates and receipts of a round.
#[must_use]
pub fn pack(messages: &[Verified]) -> Vec<u8> {
    let mut sorted: Vec<&Verified> = messages.iter().collect();
    sorted.sort_by_key(|m| (m.slot().kind, m.author()));
    let mut out = MAGIC.to_vec();
    for message in sorted {
        // At most MAX_MESSAGE_BYTES.
        out.extend_from_slice(&(message.bytes().len() as u32).to_le_bytes());
        out.extend_from_slice(message.bytes());
    }
    out
}

/// One message of a bundle: where it stands and who says to have signed it. Nothing is checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'a> {
    /// What it says it is.
    pub slot: Slot,
    /// Who it says signed it.
    pub author: u16,
    /// Its bytes, for [`Verifier::open`].
    pub bytes: &'a [u8],
}

/// Takes a bundle apart.
///
/// # Errors
/// [`BundleError`], saying which message is wrong; they are counted from 0.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Packed<'_>>, BundleError> {
    if bytes.len() > MAX_BUNDLE_BYTES {
        return Err(BundleError::TooLong(bytes.len()));
    }
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(BundleError::Magic)?;
    let mut out: Vec<Packed<'_>> = Vec::new();
    while !rest.is_empty() {
        let index = out.len();
        let (length, after) = rest.split_first_chunk::<4>().ok_or(BundleError::Length(index))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE_BYTES || length > after.len() {
            return Err(BundleError::Length(index));
        }
        let (bytes, after) = after.split_at(length);
        rest = after;
        let (slot, author) = Verifier::peek(bytes).ok_or(BundleError::Kind(index))?;
        if !matches!(slot.kind, Kind::Update | Kind::Receipt) {
            return Err(BundleError::Kind(index));
        }
        if out.last().is_some_and(|last| (last.slot.kind, last.author) >= (slot.kind, author)) {
            return Err(BundleError::Order(index));
        }
        out.push(Packed { slot, author, bytes });
    }
    Ok(out)
}
