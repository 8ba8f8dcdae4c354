//! What the tests of the memory budget share: a loop that has one, what stands for all else that is held, and uploads.

use httpserver::{Request, Response};
use iostream::{HeldBytes, MemoryBudget};

use super::Stage;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// A stage whose loop has this budget.
pub(crate) fn stage(soft: usize, hard: usize) -> Stage {
    let stage = Stage::new();
    MemoryBudget::new(soft, hard).install();
    stage
}

pub(crate) fn held(bytes: usize) -> HeldBytes {
    let mut held = HeldBytes::new();
    held.set(bytes);
    held
}

pub(crate) async fn length(request: Request) -> Response {
    Response::text(request.body().len().to_string())
}

pub(crate) fn post(bytes: usize) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n")
}
