//! What the system is asked to do with a TCP connection.

use libp2p::tcp::tokio::TcpStream;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::time::Duration;

    use super::TcpStream;

    /// How long what was sent may stay without any acknowledgement before the system closes the connection. Shorter, and a link that
    /// is out for a moment costs every connection over it; longer, and a host that is gone, or beyond a break of the network, is
    /// still believed to be there, and is not called again. The system's own limit is a quarter of an hour.
    const SILENCE: Duration = Duration::from_secs(30);

    /// Bytes that wait in the system before they are sent. What is written first leaves first: with the usual megabytes, a
    /// vote waits behind a payload for half a minute on a link of 1 Mbit/s, and so do the pings that tell whether its host is
    /// there. Fewer, and each wake of the program sends too little to fill a fast link.
    const UNSENT: u32 = 32 * 1024;

    pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
        let socket = socket2::SockRef::from(&stream.0);
        socket.set_tcp_user_timeout(Some(SILENCE))?;
        socket.set_tcp_notsent_lowat(UNSENT)
    }
}

/// Elsewhere the system's own limits hold: slow hosts' votes come later, and breaks are noticed by pings alone.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    pub(super) fn tune(_: &super::TcpStream) -> std::io::Result<()> {
        Ok(())
    }
}

/// The same connection, with limits on how long it may be silent and on what waits to be sent.
pub(crate) fn tuned(stream: TcpStream) -> TcpStream {
    if let Err(error) = system::tune(&stream) {
        tracing::debug!(%error, "a connection keeps the system's limits");
    }
    stream
}
