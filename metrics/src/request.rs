//! The little of HTTP that is needed: a request line comes in, one answer goes out.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest request, with its headers. Lower, and a browser with many cookies is turned away.
pub(crate) const MAX_REQUEST_BYTES: usize = 8 << 10;

/// What is asked for, or why that cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    Metrics,
    Health,
    /// Another path.
    Unknown,
    /// A method that changes things; there is nothing to change.
    Method,
    /// No HTTP.
    Malformed,
    /// More than [`MAX_REQUEST_BYTES`].
    TooLong,
}

/// Reads up to the empty line behind the headers: what is asked for, and whether only the headers of the answer are wanted.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Asked, bool)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 1024]);
    while !ended(&bytes) {
        if bytes.len() >= MAX_REQUEST_BYTES {
            return Ok((Asked::TooLong, false));
        }
        match stream.read(&mut chunk).await? {
            0 => return Ok((Asked::Malformed, false)),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(parse(&bytes))
}

fn ended(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|end| end == b"\r\n\r\n")
}

fn parse(bytes: &[u8]) -> (Asked, bool) {
    let line = bytes.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    let &[method, target, version] = words.as_slice() else { return (Asked::Malformed, false) };
    if !version.starts_with("HTTP/1.") || !target.starts_with('/') {
        return (Asked::Malformed, false);
    }
    if !matches!(method, "GET" | "HEAD") {
        return (Asked::Method, false);
    }
    let asked = match target.split('?').next() {
        Some("/metrics") => Asked::Metrics,
        Some("/health") => Asked::Health,
        _ => Asked::Unknown,
    };
    (asked, method == "HEAD")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn asked(mut bytes: &[u8]) -> (Asked, bool) {
        read(&mut bytes).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_asked_for_is_understood_and_nothing_else() {
        assert_eq!(asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await, (Asked::Metrics, false));
        assert_eq!(asked(b"HEAD /health?verbose HTTP/1.0\r\n\r\n").await, (Asked::Health, true));
        assert_eq!(asked(b"GET / HTTP/1.1\r\n\r\n").await, (Asked::Unknown, false));
        assert_eq!(asked(b"POST /metrics HTTP/1.1\r\n\r\n").await, (Asked::Method, false));
        for garbage in
            [&b""[..], b"\r\n\r\n", b"GET /metrics\r\n\r\n", b"\xff\xfe HTTP/1.1\r\n\r\n", b"GET metrics HTTP/1.1"]
        {
            assert_eq!(asked(garbage).await.0, Asked::Malformed, "{garbage:?}");
        }
    }

    #[tokio::test]
    async fn a_request_without_end_is_given_up() {
        let mut endless = tokio::io::repeat(b'a');
        assert_eq!(read(&mut endless).await.unwrap().0, Asked::TooLong);
    }
}
