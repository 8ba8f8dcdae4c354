//! What servers count of their requests, under the names that OpenTelemetry gives them.

mod exposition;
mod histogram;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use exposition::{Exposition, Kind};
pub(crate) use shard::{Counted, Shard};

use crate::error::Fault;
use histogram::{Histogram, Totals};
use shard::{KINDS, label_of_method, label_of_scheme};

/// Counts of requests, for [`HttpOptions::metrics`](crate::HttpOptions::metrics). Clones share them, and may go to other threads:
/// the servers of many loops count into one.
///
/// | in Prometheus' text | OpenTelemetry's name | by |
/// | --- | --- | --- |
/// | `http_server_request_duration_seconds` | `http.server.request.duration` | method, scheme, status |
/// | `http_server_active_requests` | `http.server.active_requests` | method, scheme |
/// | `http_server_request_body_size_bytes` | `http.server.request.body.size` | method, scheme |
/// | `http_server_response_body_size_bytes` | `http.server.response.body.size` | method, scheme |
/// | `http_server_errors_total` | | fault (`peer`, `handler`, `network`, `server`), reason |
///
/// A request counts when it has ended, as in an [`AccessRecord`](crate::AccessRecord), refused ones included. Methods that RFC 9110
/// and 5789 do not know are `_OTHER`, so no peer makes new series; what got no answer has no status.
///
/// Counting takes no lock, but for errors, and each loop counts in memory of its own: some 8 KiB for each method that occurs.
#[derive(Debug, Clone, Default)]
pub struct HttpMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// One of each server on each loop, present and past.
    shards: Mutex<Vec<Arc<Shard>>>,
    errors: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl HttpMetrics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> HttpMetrics {
        HttpMetrics::default()
    }

    /// All of it in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = Exposition::prometheus();
        self.write(&mut text);
        text.finish()
    }

    /// All of it in the text format of OpenMetrics, version 1.0.0.
    #[must_use]
    pub fn to_openmetrics(&self) -> String {
        let mut text = Exposition::openmetrics();
        self.write(&mut text);
        text.finish()
    }

    /// Where one server on one loop counts. What servers have left behind is used again: its counts stay in the sums.
    pub(crate) fn shard(&self) -> Arc<Shard> {
        let mut shards = lock(&self.inner.shards);
        if let Some(left) = shards.iter().find(|shard| Arc::strong_count(shard) == 1) {
            return Arc::clone(left);
        }
        shards.push(Arc::default());
        Arc::clone(&shards[shards.len() - 1])
    }

    pub(crate) fn count_error(&self, fault: Fault, reason: &'static str) {
        *lock(&self.inner.errors).entry((fault.as_str(), reason)).or_default() += 1;
    }

    pub(crate) fn write(&self, out: &mut Exposition) {
        let shards = lock(&self.inner.shards).clone();
        let name = "http_server_request_duration_seconds";
        out.family(name, Kind::Histogram, "seconds", "Duration of HTTP server requests.");
        for (kind, status) in occurring_statuses(&shards) {
            let all = shards.iter().filter_map(|shard| shard.kind(kind)?.duration(status));
            let status = (status > 0).then(|| status.to_string());
            let labels = [label_of_method(kind), label_of_scheme(kind)];
            let by = status.as_deref().map(|status| ("http_response_status_code", status));
            let labels: Vec<_> = labels.into_iter().chain(by).collect();
            out.histogram(name, &labels, &Totals::of(all), 1e-9);
        }
        let name = "http_server_active_requests";
        out.family(name, Kind::Gauge, "", "Number of active HTTP server requests.");
        for kind in occurring(&shards) {
            let active: u64 =
                shards.iter().filter_map(|shard| shard.kind(kind)).map(shard::OfKind::active).sum();
            out.sample(name, &[label_of_method(kind), label_of_scheme(kind)], active as f64);
        }
        let mut sizes = |name, help, of: fn(&shard::OfKind) -> &Histogram| {
            out.family(name, Kind::Histogram, "bytes", help);
            for kind in occurring(&shards) {
                let all = shards.iter().filter_map(|shard| shard.kind(kind)).map(of);
                out.histogram(name, &[label_of_method(kind), label_of_scheme(kind)], &Totals::of(all), 1.0);
            }
        };
        sizes("http_server_request_body_size_bytes", "Size of HTTP server request bodies.", |it| {
            it.received()
        });
        sizes(
            "http_server_response_body_size_bytes",
            "Size of HTTP server response bodies.",
            shard::OfKind::sent,
        );
        let name = "http_server_errors";
        out.family(name, Kind::Counter, "", "Exchanges that did not come to their good end.");
        for (&(fault, reason), &count) in &*lock(&self.inner.errors) {
            out.counter(name, &[("fault", fault), ("reason", reason)], count);
        }
    }
}

fn occurring(shards: &[Arc<Shard>]) -> impl Iterator<Item = usize> {
    (0..KINDS).filter(|&kind| shards.iter().any(|shard| shard.kind(kind).is_some()))
}

fn occurring_statuses(shards: &[Arc<Shard>]) -> impl Iterator<Item = (usize, u16)> {
    let occurs = |kind, status| {
        shards.iter().any(|shard| shard.kind(kind).is_some_and(|it| it.duration(status).is_some()))
    };
    let all = occurring(shards).flat_map(|kind| shard::statuses().map(move |status| (kind, status)));
    all.filter(move |&(kind, status)| occurs(kind, status))
}

/// Counts are good whoever panicked beside them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::*;
    use crate::proxies::Protocol;

    #[test]
    fn the_counts_of_many_loops_add_up_and_outlive_them() {
        let metrics = HttpMetrics::new();
        let loops = [(); 3].map(|()| {
            let metrics = metrics.clone();
            std::thread::spawn(move || {
                let shard = metrics.shard();
                let counted = Shard::begin(&shard, Some(&Method::PUT), Protocol::Https);
                counted.end(Some(StatusCode::CREATED), Duration::from_millis(30), 10, 300);
            })
        });
        for each in loops {
            each.join().unwrap();
        }
        let text = metrics.to_prometheus();
        let labels = r#"http_request_method="PUT",url_scheme="https""#;
        let by_status = format!("{labels},http_response_status_code=\"201\"");
        for line in [
            format!("http_server_request_duration_seconds_bucket{{{by_status},le=\"0.025\"}} 0"),
            format!("http_server_request_duration_seconds_bucket{{{by_status},le=\"0.05\"}} 3"),
            format!("http_server_request_duration_seconds_sum{{{by_status}}} 0.09"),
            format!("http_server_active_requests{{{labels}}} 0"),
            format!("http_server_request_body_size_bytes_sum{{{labels}}} 30"),
            format!("http_server_response_body_size_bytes_count{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nis not in\n{text}");
        }
        // A server that comes later counts where one that is gone did.
        let before = lock(&metrics.inner.shards).len();
        drop(metrics.shard());
        assert_eq!(lock(&metrics.inner.shards).len(), before);
    }

    #[test]
    fn no_peer_makes_new_series() {
        let (metrics, get) = (HttpMetrics::new(), |number: u32| format!("METHOD{number}"));
        let shard = metrics.shard();
        for number in 0..100 {
            let method = Method::from_bytes(get(number).as_bytes()).unwrap();
            Shard::begin(&shard, Some(&method), Protocol::Http).end(None, Duration::ZERO, 0, 0);
        }
        Shard::begin(&shard, None, Protocol::Http).end(StatusCode::from_u16(799).ok(), Duration::ZERO, 0, 0);
        let text = metrics.to_prometheus();
        assert!(text.contains(r#"_count{http_request_method="_OTHER",url_scheme="http"} 101"#), "{text}");
        assert_eq!(text.matches("http_server_active_requests{").count(), 1);
    }

    #[test]
    fn openmetrics_names_counters_without_total_and_ends() {
        let metrics = HttpMetrics::new();
        metrics.count_error(Fault::Peer, "invalid_host");
        let text = metrics.to_openmetrics();
        assert!(text.contains("# TYPE http_server_errors counter\n"), "{text}");
        assert!(
            text.contains("http_server_errors_total{fault=\"peer\",reason=\"invalid_host\"} 1\n"),
            "{text}"
        );
        assert!(text.contains("# UNIT http_server_request_duration_seconds seconds\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        let text = metrics.to_prometheus();
        assert!(
            text.contains("# TYPE http_server_errors_total counter\n") && !text.contains("# EOF"),
            "{text}"
        );
    }
}
