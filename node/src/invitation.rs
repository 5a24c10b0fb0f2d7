//! Invitations as files: everything a newcomer needs, in one.

use std::path::{Path, PathBuf};

use fedswarm_protocol::codec;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::keys::{Ed25519, SecretKey};
use fedswarm_protocol::manifest::{MAX_MANIFEST_BYTES, Manifest};
use fedswarm_protocol::membership::{Invite, Join, MAX_MEMBER_NAME_BYTES, Operation, Role};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::files::write_privately;

const INVITATION: &[u8] = b"fedswarm invitation 1\n";
const JOINING: &[u8] = b"fedswarm joining 1\n";

/// Largest file of either kind: a manifest and a little more.
const MAX_FILE_BYTES: u64 = MAX_MANIFEST_BYTES as u64 + 16 * 1024;

/// Most addresses in an invitation.
pub(crate) const MAX_ADDRESSES: usize = 16;

/// What a sponsor gives to a newcomer. Whoever has it can join once: it is to be handed over in confidence.
#[derive(Clone, Serialize, Deserialize)]
pub struct Invitation {
    /// The network's manifest.
    pub manifest: Vec<u8>,
    /// The sponsor's word.
    pub invite: Invite,
    /// Secret half of the ticket.
    ticket: [u8; 32],
    /// The last record known to the sponsor that closes an epoch: round and hash.
    pub checkpoint: Option<(u64, Digest)>,
    /// Where to find the network.
    pub addresses: Vec<String>,
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation").field("invite", &self.invite).finish_non_exhaustive()
    }
}

/// What a newcomer's node needs beside the manifest until it is a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joining {
    /// The signed request.
    pub join: Join,
    /// The record that must be on the chain.
    pub checkpoint: Option<(u64, Digest)>,
}

impl Invitation {
    /// Invites whoever gets the file.
    ///
    /// # Errors
    /// A manifest that cannot be encoded, or a system without entropy.
    pub fn new(
        manifest: &Manifest,
        sponsor: &SecretKey,
        role: Role,
        expires: u64,
        checkpoint: Option<(u64, Digest)>,
        addresses: Vec<String>,
    ) -> Result<Self, Error> {
        let ticket = crate::identity::generate()?;
        let invite = Invite::new(&manifest.network_id()?, sponsor, ticket.public(), role, expires);
        Ok(Self { manifest: manifest.to_bytes()?, invite, ticket: ticket.to_bytes(), checkpoint, addresses })
    }

    /// Writes the file; only its owner can read it.
    ///
    /// # Errors
    /// A file that is there already, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        save(path, INVITATION, self)
    }

    /// Reads and checks the file.
    ///
    /// # Errors
    /// A file that is missing or no invitation, a manifest that breaks a rule, a sponsor's signature that does not hold.
    pub fn load(path: &Path) -> Result<(Self, Manifest), Error> {
        let invitation: Self = load(path, INVITATION, "an invitation")?;
        let manifest = Manifest::from_bytes(&invitation.manifest).map_err(|e| Error::file(path, e))?;
        if invitation.addresses.len() > MAX_ADDRESSES {
            return Err(Error::file(path, "more addresses than an invitation may have"));
        }
        let ticket = SecretKey::from_bytes(&invitation.ticket).public();
        if ticket != invitation.invite.ticket || !invitation.invite.holds(&manifest.network_id()?, &Ed25519) {
            return Err(Error::file(path, "the sponsor's signature does not hold; ask for a new invitation"));
        }
        Ok((invitation, manifest))
    }

    /// Signs the request of a newcomer.
    ///
    /// # Errors
    /// A name that is too long.
    pub fn accept(&self, manifest: &Manifest, key: &SecretKey, name: &str) -> Result<Joining, Error> {
        if name.len() > MAX_MEMBER_NAME_BYTES {
            return Err(Error::Config(format!("name {name:?}: at most {MAX_MEMBER_NAME_BYTES} bytes")));
        }
        let ticket = SecretKey::from_bytes(&self.ticket);
        let join = Join::new(&manifest.network_id()?, self.invite, &ticket, key, name.to_owned());
        Ok(Joining { join, checkpoint: self.checkpoint })
    }
}

impl Joining {
    /// Writes the file.
    ///
    /// # Errors
    /// A file that is there already, or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        save(path, JOINING, self)
    }

    /// Reads the file of the node with this key.
    ///
    /// # Errors
    /// A file that is missing, of another kind, of another network or key.
    pub fn load(path: &Path, manifest: &Manifest, key: &SecretKey) -> Result<Self, Error> {
        let joining: Self = load(path, JOINING, "a request to join")?;
        if joining.join.key != key.public() {
            return Err(Error::file(path, "it was made for another key (fedswarm network join --key)"));
        }
        if !Operation::Join(Box::new(joining.join.clone())).holds(&manifest.network_id()?, &Ed25519) {
            return Err(Error::file(path, "it was made for another network"));
        }
        Ok(joining)
    }
}

fn save<T: Serialize>(path: &Path, magic: &[u8], what: &T) -> Result<(), Error> {
    if path.exists() {
        return Err(Error::file(path, "exists already; choose another name"));
    }
    let body = codec::encode(what).map_err(|e| Error::file(path, e))?;
    write_privately(path, &[magic, &body].concat()).map_err(|e| Error::file(path, e))
}

fn load<T: Serialize + serde::de::DeserializeOwned>(path: &Path, magic: &[u8], what: &str) -> Result<T, Error> {
    let size = std::fs::metadata(path).map_err(|e| Error::file(path, e))?.len();
    let not = |reason: &dyn std::fmt::Display| Error::file(PathBuf::from(path), format!("not {what}: {reason}"));
    if size > MAX_FILE_BYTES {
        return Err(not(&format!("{size} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let body = bytes.strip_prefix(magic).ok_or_else(|| not(&"it does not begin as one does"))?;
    codec::decode(body, MAX_FILE_BYTES as usize).map_err(|e| not(&e))
}
