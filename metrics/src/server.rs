//! The port.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::Page;
use crate::request::{self, Asked};

/// Clients at once; more are turned away. Lower, and a slow client keeps the scraper out.
const MAX_CLIENTS: usize = 16;

/// How long a client has for its request, and again for taking the answer. Shorter, and a busy machine scrapes nothing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that are read, and thrown away, of what a client sends although it was answered.
const LINGER_BYTES: usize = 64 << 10;

/// Pause after a connection could not be taken in, as when the process has no file descriptors left.
const BREATH: Duration = Duration::from_millis(100);

/// Where the answers come from.
pub trait Source: Send + Sync + 'static {
    /// The metrics as they are now.
    fn page(&self) -> impl Future<Output = Page> + Send;

    /// Whether all is well, or what is not.
    fn health(&self) -> impl Future<Output = Result<(), String>> + Send;
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It would be open to others.
    #[error(
        "metrics at {0}: only loopback addresses such as 127.0.0.1:9464 are served, since nothing is asked or encrypted here; \
         put a proxy in front for other machines"
    )]
    NotLoopback(SocketAddr),
    /// It cannot be listened on.
    #[error("metrics at {addr}: {reason}; choose another port, or 0 for a free one")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        reason: io::Error,
    },
}

/// An open port; it closes when this is dropped.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Opens the port on the caller's tokio runtime; port 0 takes a free one.
///
/// # Errors
/// [`Error`]: an address that is not loopback, or in use.
pub async fn serve(addr: SocketAddr, source: impl Source) -> Result<Server, Error> {
    if !addr.ip().is_loopback() {
        return Err(Error::NotLoopback(addr));
    }
    let listen = |reason| Error::Listen { addr, reason };
    let listener = TcpListener::bind(addr).await.map_err(listen)?;
    let addr = listener.local_addr().map_err(listen)?;
    let task = tokio::spawn(accept(listener, Arc::new(source)));
    tracing::info!(%addr, "metrics at /metrics, health at /health");
    Ok(Server { addr, task })
}

async fn accept(listener: TcpListener, source: Arc<impl Source>) {
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a client of the metrics was not taken in");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let source = Arc::clone(&source);
        tokio::spawn(async move {
            // Whoever goes away in the middle does not want to know.
            drop(answer(stream, source.as_ref()).await);
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream, source: &impl Source) -> io::Result<()> {
    let (asked, head_only) = match tokio::time::timeout(PATIENCE, request::read(&mut stream)).await {
        Ok(read) => read?,
        // Nobody is owed an answer for nothing.
        Err(_) => return Ok(()),
    };
    let (status, kind, body) = match asked {
        Asked::Metrics => match source.page().await.to_text() {
            Ok(text) => ("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(error) => ("500 Internal Server Error", PLAIN, format!("{error}\n")),
        },
        Asked::Health => match source.health().await {
            Ok(()) => ("200 OK", PLAIN, "ok\n".to_owned()),
            Err(reason) => ("503 Service Unavailable", PLAIN, format!("{reason}\n")),
        },
        Asked::Unknown => ("404 Not Found", PLAIN, "there are /metrics and /health\n".to_owned()),
        Asked::Method => ("405 Method Not Allowed", PLAIN, "GET and HEAD\n".to_owned()),
        Asked::Malformed => ("400 Bad Request", PLAIN, "no HTTP request\n".to_owned()),
        Asked::TooLong => ("431 Request Header Fields Too Large", PLAIN, "too long\n".to_owned()),
    };
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        text.push_str(&body);
    }
    let write = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        // What was not read would turn the end of the connection into a reset, and the client would lose the answer.
        let (mut read, mut rest) = (0, [0; 1024]);
        while read < LINGER_BYTES {
            match stream.read(&mut rest).await? {
                0 => break,
                count => read += count,
            }
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, write).await.unwrap_or(Ok(()))
}

const PLAIN: &str = "text/plain; charset=utf-8";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Fixed;

    impl Source for Fixed {
        async fn page(&self) -> Page {
            let mut page = Page::default();
            page.counter("scrapes", "Scrapes", 1);
            page
        }

        async fn health(&self) -> Result<(), String> {
            Err("no certificate for 90 s".to_owned())
        }
    }

    async fn said(addr: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        // It may have answered and closed before it read everything.
        drop(stream.write_all(bytes).await);
        let mut text = String::new();
        drop(stream.read_to_string(&mut text).await);
        text
    }

    #[tokio::test]
    async fn metrics_and_health_are_served_on_a_free_loopback_port() {
        let server = serve("127.0.0.1:0".parse().unwrap(), Fixed).await.unwrap();
        let text = said(server.addr(), b"GET /metrics HTTP/1.1\r\n\r\n").await;
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("fedswarm_scrapes_total 1\n# EOF\n"),
            "{text}"
        );
        let text = said(server.addr(), b"GET /health HTTP/1.1\r\n\r\n").await;
        assert!(text.starts_with("HTTP/1.1 503 ") && text.ends_with("\r\n\r\nno certificate for 90 s\n"), "{text}");
        let text = said(server.addr(), b"HEAD /metrics HTTP/1.1\r\n\r\n").await;
        assert!(text.contains("Content-Length: ") && text.ends_with("\r\n\r\n"), "{text}");
        for (bytes, status) in
            [("GET / HTTP/1.1\r\n\r\n", "404"), ("PUT /health HTTP/1.1\r\n\r\n", "405"), ("\0\r\n\r\n", "400")]
        {
            let text = said(server.addr(), bytes.as_bytes()).await;
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        }
        let text = said(server.addr(), &vec![b'a'; 20_000]).await;
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
    }

    #[tokio::test]
    async fn clients_that_say_nothing_are_dropped_and_give_their_place_back() {
        let server = serve("[::1]:0".parse().unwrap(), Fixed).await;
        let server = match server {
            Ok(server) => server,
            // A host without IPv6.
            Err(_) => serve("127.0.0.1:0".parse().unwrap(), Fixed).await.unwrap(),
        };
        let mut silent = Vec::new();
        for _ in 0..MAX_CLIENTS {
            silent.push(TcpStream::connect(server.addr()).await.unwrap());
        }
        let answered = async {
            while said(server.addr(), b"GET /metrics HTTP/1.1\r\n\r\n").await.is_empty() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(4 * PATIENCE, answered).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_others_reach_is_refused_with_what_to_do() {
        let error = serve("0.0.0.0:0".parse().unwrap(), Fixed).await.unwrap_err().to_string();
        assert!(error.contains("only loopback") && error.contains("proxy"), "{error}");
        let taken = serve("127.0.0.1:0".parse().unwrap(), Fixed).await.unwrap();
        let error = serve(taken.addr(), Fixed).await.unwrap_err().to_string();
        assert!(error.contains("another port"), "{error}");
    }
}
