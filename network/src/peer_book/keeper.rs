//! The book's file: read once, written soon after a change, never by the swarm's task itself.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{PeerBook, now, text};
use crate::frame;

/// How soon a change is on disk, unless the node knows more than twice as many as the file: then it is at once, so that who is
/// killed right after it met the first others finds them again. Longer, and more is forgotten; shorter, and a network that
/// forms writes the file for everyone it meets.
const SOON: Duration = Duration::from_millis(500);

/// A book and where it is kept, if it is.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) book: PeerBook,
    path: Option<PathBuf>,
    dirty: bool,
    written: Instant,
    /// Members with addresses in the file.
    on_disk: usize,
    writing: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Whether there is a file.
    pub(crate) const fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Reads the book. One that is damaged is used as far as it makes sense: it is a convenience, not a state.
    pub(crate) fn open(path: Option<PathBuf>) -> Self {
        let (mut book, mut complaints) = (PeerBook::default(), Vec::new());
        if let Some(path) = &path {
            match read(path) {
                Ok(text) => (book, complaints) = text::read(&text, now()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => complaints.push(error.to_string()),
            }
            for complaint in complaints {
                tracing::warn!(path = %path.display(), complaint, "the peer book is damaged; the rest of it is used");
            }
        }
        let on_disk = book.found();
        Self { book, path, dirty: false, written: Instant::now(), on_disk, writing: None }
    }

    /// Something in the book is new.
    pub(crate) const fn changed(&mut self, changed: bool) {
        self.dirty |= changed;
    }

    /// When the book is to be written next, if something in it is new.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.dirty.then(|| self.written + SOON)
    }

    /// Writes the book if it is time.
    pub(crate) fn tick(&mut self) {
        let busy = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        let many = self.book.found() > 2 * self.on_disk;
        if self.dirty && !busy && (many || self.written.elapsed() >= SOON) {
            self.write();
        }
    }

    /// Writes what is not on disk yet, and waits for it.
    pub(crate) async fn close(&mut self) {
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
        if self.dirty {
            self.write();
        }
        if let Some(writing) = self.writing.take() {
            drop(writing.await);
        }
    }

    fn write(&mut self) {
        (self.dirty, self.written, self.on_disk) = (false, Instant::now(), self.book.found());
        let Some(path) = self.path.clone() else { return };
        let text = text::write(&self.book);
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = replace(&path, text.as_bytes()) {
                tracing::warn!(path = %path.display(), %error, "the peer book could not be written");
            }
        }));
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = text::MAX_BOOK_BYTES as u64;
    let read = File::open(path)?.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        return Err(frame::invalid(format!("longer than {limit} bytes")));
    }
    Ok(text)
}

/// One writer at a time: the name of the partial file needs no number.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::PeerId;

    use super::*;

    #[tokio::test]
    async fn the_first_acquaintance_is_written_at_once_and_the_next_ones_by_doubling() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("peers.txt");
        let mut keeper = Keeper::open(Some(path.clone()));
        let addr = "/ip4/192.0.2.1/tcp/4001".parse().unwrap();
        let wanted = "/ip4/0.0.0.0/tcp/0".parse().unwrap();
        let news = keeper.book.got_port(&wanted, 4001);
        keeper.changed(news);
        keeper.tick();
        assert!(keeper.writing.is_none(), "a port alone can wait");
        let mut written = Vec::new();
        for met in 1..=8 {
            let news = keeper.book.worked(PeerId::from(libp2p::identity::Keypair::generate_ed25519().public()), &addr);
            keeper.changed(news);
            keeper.written = Instant::now();
            keeper.tick();
            if let Some(writing) = keeper.writing.take() {
                writing.await.unwrap();
                written.push((met, fs::read_to_string(&path).unwrap().matches("peer ").count() - 1));
            }
        }
        assert_eq!(written, [(1, 1), (3, 3), (7, 7)], "members met, and members in the file");
    }
}
