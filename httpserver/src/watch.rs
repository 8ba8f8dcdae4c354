//! What is kept of a request under way where somebody wants to hear of it when it has ended: the access log, the metrics.
//! Without either, nothing is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use ioloop::IoLoop;
use tcpserver::PeerAddr;

use crate::access::{AccessLog, AccessRecord};
use crate::error::{Fault, HttpError};
use crate::facts::RequestFacts;
use crate::http1::RequestHead;
use crate::metrics::{Counted, HttpMetrics, Shard};
use crate::options::HttpOptions;
use crate::proxies::Protocol;

/// Who wants to hear of requests.
#[derive(Debug)]
pub(crate) struct Watcher {
    log: Option<AccessLog>,
    metrics: Option<(HttpMetrics, Arc<Shard>)>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Watched {
    began: Instant,
    counted: Option<Counted>,
    line: Option<Line>,
}

/// What the log is to say of it. A copy: the handler may have let go of the request when it has ended.
#[derive(Debug)]
struct Line {
    head: RequestHead,
    remote_ip: Option<IpAddr>,
}

/// What has become of a request.
#[derive(Debug)]
pub(crate) struct Ended<'a> {
    pub(crate) status: Option<StatusCode>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) peer: &'a PeerAddr,
    pub(crate) error: Option<&'a HttpError>,
}

impl Watcher {
    /// `None` if nobody wants to.
    pub(crate) fn of(options: &HttpOptions) -> Option<Watcher> {
        let log = options.access_log.clone();
        let metrics = options.metrics.clone().map(|metrics| {
            let shard = metrics.shard();
            (metrics, shard)
        });
        (log.is_some() || metrics.is_some()).then_some(Watcher { log, metrics })
    }

    pub(crate) fn begin(&self, head: &RequestHead, facts: &RequestFacts) -> Watched {
        let count = |(_, shard): &(_, Arc<Shard>)| Shard::begin(shard, Some(head.method()), facts.protocol());
        let line = || Line { head: head.clone(), remote_ip: facts.remote_ip() };
        let counted = self.metrics.as_ref().map(count);
        let line = self.log.is_some().then(line);
        Watched { began: precise_now(), counted, line }
    }

    pub(crate) fn end(&self, watched: Watched, ended: &Ended<'_>) {
        let Watched { began, counted, line } = watched;
        let took = precise_now().saturating_duration_since(began);
        if let Some(counted) = counted {
            counted.end(ended.status, took, ended.bytes_received, ended.bytes_sent);
        }
        if let (Some(log), Some(Line { head, remote_ip })) = (&self.log, &line) {
            log.write(&record(Some(head), *remote_ip, took, ended));
        }
    }

    /// A request whose head was refused. What was understood of it may have been its method and target.
    pub(crate) fn refused(&self, head: Option<&RequestHead>, scheme: Protocol, ended: &Ended<'_>) {
        let head = head.filter(|head| !head.target().is_empty());
        if let Some((_, shard)) = &self.metrics {
            let method = head.map(RequestHead::method);
            let counted = Shard::begin(shard, method, scheme);
            counted.end(ended.status, Duration::ZERO, 0, ended.bytes_sent);
        }
        if let Some(log) = &self.log {
            log.write(&record(head, ended.peer.ip(), Duration::ZERO, ended));
        }
    }

    pub(crate) fn count_error(&self, fault: Fault, reason: &'static str) {
        if let Some((metrics, _)) = &self.metrics {
            metrics.count_error(fault, reason);
        }
    }
}

fn record<'a>(
    head: Option<&'a RequestHead>,
    remote_ip: Option<IpAddr>,
    duration: Duration,
    ended: &Ended<'a>,
) -> AccessRecord<'a> {
    let &Ended { status, bytes_received, bytes_sent, peer, error } = ended;
    AccessRecord { head, status, bytes_received, bytes_sent, duration, peer, remote_ip, error }
}

/// Not the time of the turn, which stands still while a handler computes.
fn precise_now() -> Instant {
    IoLoop::current().precise_now()
}
