//! The span of a request, in which its handler runs: made, and paid for, only where somebody listens to it.

use http::StatusCode;
use tracing::{Span, field};

use crate::facts::RequestFacts;

/// The fields have the names that OpenTelemetry gives them. Of the target only the path: a query may hold what no log should.
#[inline]
pub(crate) fn of_request(request: &RequestFacts) -> Option<Span> {
    let span = tracing::debug_span!(
        "request",
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        url.path = request.path(),
        http.response.status_code = field::Empty,
    );
    (!span.is_disabled()).then_some(span)
}

pub(crate) fn end(span: &Span, status: Option<StatusCode>) {
    if let Some(status) = status {
        span.record("http.response.status_code", status.as_u16());
    }
}
