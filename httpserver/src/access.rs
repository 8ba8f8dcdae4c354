//! The access log: one call for each request that has ended, and Tornado's line for it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use ioloop::caught;
use tcpserver::PeerAddr;

use crate::error::HttpError;
use crate::http1::RequestHead;

/// A request that has ended, well or not: what [`HttpOptions::access_log`](crate::HttpOptions::access_log) is told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct AccessRecord<'a> {
    /// What was asked: method, target, version, fields as the handler saw them. `None` if it was not understood so far.
    pub head: Option<&'a RequestHead>,
    /// The status of the answer. `None` if there was none: the client had left, or the handler took the connection over as it was.
    pub status: Option<StatusCode>,
    /// Bytes of the request's body that were read, without what frames them; of an encoded body, as it came.
    pub bytes_received: u64,
    /// Bytes of the response's body that were written, without what frames them; of an encoded body, encoded. The peer has not
    /// necessarily taken them.
    pub bytes_sent: u64,
    /// From the last byte of the head to the last byte of the response that was written.
    pub duration: Duration,
    /// Who is at the other end of the connection, a proxy perhaps.
    pub peer: &'a PeerAddr,
    /// The client's address, as [`RequestFacts::remote_ip`](crate::RequestFacts::remote_ip).
    pub remote_ip: Option<IpAddr>,
    /// What went wrong, if something did. Its [`fault`](HttpError::fault) says on whose side.
    pub error: Option<&'a HttpError>,
}

/// Tornado's line, `status method uri (ip) ms`, as it stands in its log (HS17).
impl fmt::Display for AccessRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{} ", status.as_u16())?,
            None => f.write_str("- ")?,
        }
        match self.head {
            Some(head) => write!(f, "{} {} (", head.method(), head.target())?,
            None => f.write_str("- - (")?,
        }
        match self.remote_ip {
            Some(ip) => write!(f, "{ip}")?,
            None => write!(f, "{}", self.peer)?,
        }
        write!(f, ") {:.2}ms", self.duration.as_secs_f64() * 1e3)
    }
}

/// Writes a request to the log at Tornado's levels (HS17): `info` below 400, `warn` below 500, `error` from there on; what got no
/// answer is an `error` if the handler is at fault, else `info`. The target of the lines is `httpserver::access`.
///
/// ```
/// use httpserver::{HttpOptions, log_request};
///
/// let options = HttpOptions::new().access_log(log_request);
/// # let _ = options;
/// ```
pub fn log_request(record: &AccessRecord<'_>) {
    use crate::error::Fault;
    const TARGET: &str = "httpserver::access";
    let faulty = record.error.is_some_and(|error| error.fault() == Fault::Handler);
    match record.status.map(|status| status.as_u16()) {
        None if faulty => tracing::error!(target: TARGET, "{record}"),
        None | Some(..400) => tracing::info!(target: TARGET, "{record}"),
        Some(400..500) => tracing::warn!(target: TARGET, "{record}"),
        Some(_) => tracing::error!(target: TARGET, "{record}"),
    }
}

type Call = dyn Fn(&AccessRecord<'_>) + Send + Sync;

/// What is called for each request.
#[derive(Clone)]
pub(crate) struct AccessLog(pub(crate) Arc<Call>);

impl AccessLog {
    /// Tells it of a request. Its panic, of which the panic hook has told, costs the record and not the connection.
    pub(crate) fn write(&self, record: &AccessRecord<'_>) {
        let _written = caught(|| (self.0)(record));
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLog")
    }
}
