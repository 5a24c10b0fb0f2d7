//! Length-prefixed bytes on a stream, bounded before anything is allocated.

use std::io;
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Fault;

/// A request as it came in. What is wrong with one is told as a value: libp2p keeps errors of reading to itself, and whoever sent
/// it is to be known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Inbound<T> {
    Good(T),
    Bad(Fault),
}

impl<T> Inbound<T> {
    /// Waits for a request for as long as this, if there is a limit. Less than libp2p's own, which tells nobody.
    pub(crate) async fn of(read: impl Future<Output = io::Result<T>>, patience: Option<Duration>) -> io::Result<Self> {
        let read = match patience {
            None => read.await,
            Some(patience) => match tokio::time::timeout(patience, read).await {
                Ok(read) => read,
                Err(_) => return Ok(Self::Bad(Fault::Stalled)),
            },
        };
        match read {
            Ok(request) => Ok(Self::Good(request)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Self::Bad(Fault::BadFrame)),
            // The stream ended: so it does when a host goes down.
            Err(error) => Err(error),
        }
    }
}

/// What is left of libp2p's time for a request when reading it has to be through.
pub(crate) fn patience(whole: Duration) -> Duration {
    whole * 4 / 5
}

/// Reads a length of four bytes, little-endian, and as many bytes; more than `max` is an error before they are read.
pub(crate) async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, what: &str, max: usize) -> io::Result<Vec<u8>> {
    let mut len = [0; 4];
    io.read_exact(&mut len).await?;
    let len = u32::from_le_bytes(len) as usize;
    if len > max {
        return Err(invalid(format!("{what} of {len} bytes announced, at most {max} are allowed")));
    }
    let mut bytes = vec![0; len];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Writes what [`read`] reads.
pub(crate) async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&len.to_le_bytes()).await?;
    io.write_all(bytes).await
}

/// Reads one byte.
pub(crate) async fn read_byte<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<u8> {
    let mut byte = [0];
    io.read_exact(&mut byte).await?;
    Ok(byte[0])
}

/// An error for bytes that no honest peer writes; what it reads, a file included, is wrong, not missing.
pub(crate) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// An error for a byte that means nothing.
pub(crate) fn unknown(what: &str, byte: u8) -> io::Error {
    invalid(format!("unknown {what} {byte}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::io::Cursor;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let mut io = Cursor::new(Vec::new());
        write(&mut io, b"hello").await.unwrap();
        assert_eq!(read(&mut Cursor::new(io.into_inner()), "text", 5).await.unwrap(), b"hello");
    }

    #[tokio::test]
    async fn an_announced_length_over_the_limit_is_refused_unread() {
        let error = read(&mut Cursor::new(u32::MAX.to_le_bytes()), "text", 5).await.unwrap_err();
        assert_eq!(error.to_string(), "text of 4294967295 bytes announced, at most 5 are allowed");
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_an_error() {
        assert!(read(&mut Cursor::new([3, 0, 0, 0, 1]), "text", 5).await.is_err());
    }
}
