//! The end of a connection whose peer takes nothing.

use std::time::Duration;

use iostream::IoStream;

use crate::log::logged;

/// Closes the stream now and, over TCP, has the kernel drop what it has not sent: the peer sees a reset (RFC 9293 §3.10.5, ABORT).
///
/// For a peer that has stopped to take what is sent. After [`IoStream::close`] the kernel would keep up to megabytes for it, and the
/// end behind them, for as long as it likes. Where the socket cannot be told, this is `close`.
pub fn reset(stream: &IoStream) {
    #[cfg(unix)]
    stream.with_descriptor(|descriptor| {
        if let Err(error) = socket2::SockRef::from(&descriptor).set_linger(Some(Duration::ZERO)) {
            logged(|| tracing::debug!(%error, "a connection cannot be reset; it is closed"));
        }
    });
    stream.close();
}
