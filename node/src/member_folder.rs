//! The folder of a member: all that `fedswarm run` needs, made whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use fedswarm_protocol::keys::SecretKey;
use fedswarm_protocol::manifest::Manifest;

use crate::invitation::{Invitation, Joining};
use crate::{Error, founding, identity};

/// The configuration's name in the folder.
pub const CONFIG: &str = "node.toml";

/// What a member's folder is made of, beside its key.
#[derive(Debug)]
pub struct Papers {
    /// The network.
    pub manifest: Manifest,
    /// For a newcomer: its request.
    pub joining: Option<Joining>,
    /// For newcomers that are to come: their invitations.
    pub invitations: Vec<Invitation>,
    /// Where the network is known to be.
    pub bootstraps: Vec<String>,
    /// The generator that this member hosts.
    pub generator: Option<PathBuf>,
    /// Its images: a path, or `bundled`; absent, the file says where to write it.
    pub data: Option<PathBuf>,
}

impl Papers {
    /// The configuration, which names what lies beside it.
    fn configuration(&self) -> String {
        let list = |texts: &[String]| toml::Value::from(texts.to_vec()).to_string();
        let path = |path: &Path| toml::Value::from(path.display().to_string()).to_string();
        let mut text = String::from("manifest = \"network.manifest\"\nkey = \"node.key\"\nfolder = \"state\"\n");
        if self.joining.is_some() {
            text.push_str("join = \"network.joining\"\n");
        }
        if let Some(generator) = &self.generator {
            text.push_str(&format!("generator = {}\n", path(generator)));
        }
        text.push_str(&format!("bootstraps = {}\n", list(&self.bootstraps)));
        text.push_str("# model = \"cnn2\"\n\n[data]\n");
        let data = self.data.as_deref().unwrap_or(Path::new("images"));
        text.push_str(&format!("path = {}\n", path(data)));
        text
    }

    fn write(&self, folder: &Path) -> Result<(), Error> {
        founding::save(&self.manifest, &folder.join("network.manifest"))?;
        if let Some(joining) = &self.joining {
            joining.save(&folder.join("network.joining"))?;
        }
        for (i, invitation) in self.invitations.iter().enumerate() {
            invitation.save(&folder.join(invitation_name(i)))?;
        }
        let config = folder.join(CONFIG);
        fs::write(&config, self.configuration()).map_err(|e| Error::file(config, e))
    }
}

/// Name of the invitation at this place in its folder.
#[must_use]
pub fn invitation_name(i: usize) -> String {
    format!("{}.invitation", i + 1)
}

/// A folder's name for a network of this name, which somebody else may have chosen: letters, digits, dashes.
#[must_use]
pub fn name_for(network: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = network.chars().map(plain).collect();
    if name.is_empty() { "network".to_owned() } else { name }
}

/// Makes a member's folder with a new key, for which `papers` says what else there is to be.
///
/// # Errors
/// A folder that is there already or cannot be written, or what `papers` says. Then nothing is left.
pub fn make<E: From<Error>>(folder: &Path, papers: impl FnOnce(&SecretKey) -> Result<Papers, E>) -> Result<Papers, E> {
    if folder.exists() {
        return Err(Error::file(folder, "exists already; choose another --out").into());
    }
    let mut name = OsString::from(".");
    name.push(folder.file_name().unwrap_or_default());
    name.push(format!(".partial-{}", std::process::id()));
    let partial = folder.with_file_name(name);
    let made = (|| {
        fs::create_dir_all(&partial).map_err(|e| Error::file(&partial, e))?;
        let secret = identity::load_or_create(&partial.join("node.key")).map_err(Error::from)?;
        let papers = papers(&secret)?;
        papers.write(&partial)?;
        fs::rename(&partial, folder).map_err(|e| Error::file(folder, e))?;
        Ok(papers)
    })();
    if made.is_err() {
        // The first error is the one to report.
        drop(fs::remove_dir_all(&partial));
    }
    made
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_networks_name_leads_nowhere() {
        assert_eq!(name_for("clinic"), "clinic");
        assert_eq!(name_for("../../etc"), "------etc");
        assert_eq!(name_for(""), "network");
    }

    #[test]
    fn a_folder_that_cannot_be_made_whole_is_not_made() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("clinic");
        let refuses = |_: &SecretKey| Err(Error::Config("no".into()));
        make(&folder, refuses).unwrap_err();
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
        fs::create_dir(&folder).unwrap();
        let error = make(&folder, refuses).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
    }
}
