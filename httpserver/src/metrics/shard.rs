//! Where the server of one loop counts: atomics, so that others may read, in memory that no other loop writes to.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};

use super::histogram::Histogram;
use crate::proxies::Protocol;

/// The values of `http.request.method`.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "_OTHER"];

/// A method with a scheme is a kind.
pub(crate) const KINDS: usize = METHODS.len() * 2;

/// In nanoseconds: the bounds that OpenTelemetry's conventions give.
const DURATIONS: &[u64] = &[
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    75_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    7_500_000_000,
    10_000_000_000,
];

/// In bytes: they give none.
const SIZES: &[u64] =
    &[0, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// 100 to 599 have places of their own; what no status is, and no status, have the first.
const STATUSES: u16 = 501;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    kinds: [OnceLock<Box<OfKind>>; KINDS],
}

/// What is counted of requests of one kind.
#[derive(Debug)]
pub(crate) struct OfKind {
    active: AtomicU64,
    received: Histogram,
    sent: Histogram,
    durations: Box<[OnceLock<Box<Histogram>>]>,
}

impl Shard {
    /// Counts a request as active until what this gives is ended or dropped.
    pub(crate) fn begin(shard: &Arc<Shard>, method: Option<&Method>, scheme: Protocol) -> Counted {
        let kind = 2 * place_of(method) + usize::from(scheme == Protocol::Https);
        let counted = Counted { shard: Arc::clone(shard), kind };
        counted.of_kind().active.fetch_add(1, Relaxed);
        counted
    }

    pub(crate) fn kind(&self, kind: usize) -> Option<&OfKind> {
        self.kinds[kind].get().map(|it| &**it)
    }
}

impl OfKind {
    fn new() -> OfKind {
        OfKind {
            active: AtomicU64::new(0),
            received: Histogram::new(SIZES),
            sent: Histogram::new(SIZES),
            durations: (0..STATUSES).map(|_| OnceLock::new()).collect(),
        }
    }

    pub(crate) fn active(&self) -> u64 {
        self.active.load(Relaxed)
    }

    pub(crate) fn received(&self) -> &Histogram {
        &self.received
    }

    pub(crate) fn sent(&self) -> &Histogram {
        &self.sent
    }

    /// Of the requests with this status; 0 is none.
    pub(crate) fn duration(&self, status: u16) -> Option<&Histogram> {
        self.durations[place_of_status(status)].get().map(|it| &**it)
    }
}

/// One request that is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    shard: Arc<Shard>,
    kind: usize,
}

impl Counted {
    pub(crate) fn end(self, status: Option<StatusCode>, took: Duration, received: u64, sent: u64) {
        let of_kind = self.of_kind();
        of_kind.received.record(received);
        of_kind.sent.record(sent);
        let duration = &of_kind.durations[place_of_status(status.map_or(0, |status| status.as_u16()))];
        let duration = duration.get_or_init(|| Box::new(Histogram::new(DURATIONS)));
        duration.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn of_kind(&self) -> &OfKind {
        self.shard.kinds[self.kind].get_or_init(|| Box::new(OfKind::new()))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.of_kind().active.fetch_sub(1, Relaxed);
    }
}

fn place_of(method: Option<&Method>) -> usize {
    let method = method.map_or("_OTHER", Method::as_str);
    METHODS.iter().position(|it| *it == method).unwrap_or(METHODS.len() - 1)
}

fn place_of_status(status: u16) -> usize {
    if (100..600).contains(&status) { usize::from(status) - 99 } else { 0 }
}

/// Those that have places of their own; 0 is none.
pub(crate) fn statuses() -> impl Iterator<Item = u16> {
    (0..1).chain(100..600)
}

pub(crate) fn label_of_method(kind: usize) -> (&'static str, &'static str) {
    ("http_request_method", METHODS[kind / 2])
}

pub(crate) fn label_of_scheme(kind: usize) -> (&'static str, &'static str) {
    ("url_scheme", if kind % 2 == 1 { "https" } else { "http" })
}
