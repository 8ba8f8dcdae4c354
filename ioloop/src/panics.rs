//! Panics of the code that the loop calls: caught, counted, logged, and never the loop's end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::counters::count;
use crate::io_loop::Inner;

/// What a panic said, if it said it in words.
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a panic without a message)")
}

/// Calls `f`, code that may be anybody's; gives what its panic said, if it panicked. Nothing of the panic gets out, not even
/// from dropping what it carried.
///
/// For servers and drivers, whose handlers' panics must cost no more than the connection they happened on.
///
/// # Errors
///
/// The panic's message.
pub fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|panic| {
        let message = message(&*panic).to_owned();
        discard(panic);
        message
    })
}

/// Drops what a panic carried. Even that may panic, and is then left alone: it would end the loop.
pub(crate) fn discard(panic: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(another);
    }
}

impl Inner {
    /// Calls `f`; `false` if it panicked, which is counted and logged under the name of `what` it was (IL13).
    pub(crate) fn guarded(&self, what: &'static str, f: impl FnOnce()) -> bool {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => true,
            Err(panic) => {
                count(&self.tally.panics);
                tracing::error!(what, panic = message(&*panic), "a callback panicked");
                discard(panic);
                false
            }
        }
    }
}
