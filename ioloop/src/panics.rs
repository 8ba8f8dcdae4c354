//! Panics of the code that the loop calls: caught, counted, logged, and never the loop's end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::IoLoop;
use crate::counters::count;
use crate::io_loop::Inner;
use crate::origin::Origin;

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

/// Writes a line into the log, whose listener is somebody's code too: `eprintln!`, to which many of them come in the end, panics when
/// nobody reads the standard error any more.
pub(crate) fn logged(line: impl FnOnce()) {
    catch_unwind(AssertUnwindSafe(line)).unwrap_or_else(discard);
}

/// Something that panicked, as the error hook is told of it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// What panicked, and the line that gave it to the loop. `None` for destructors, foreign wakers and before-poll hooks.
    pub origin: Option<Origin>,
    /// What the panic said.
    pub message: &'a str,
}

pub(crate) type ErrorHook = Rc<dyn Fn(&Failure<'_>)>;

impl IoLoop {
    /// Has `hook` told of every panic that the loop catches, after it was logged: in callbacks, timers, handlers and
    /// tasks, and in their destructors (IL16, Tornado's `handle_callback_exception`). It takes the place of the hook before.
    ///
    /// The hook may use the loop, and stop it. A panic of its own is dropped. On a loop that has closed the hook is dropped at
    /// once.
    #[doc(alias = "handle_callback_exception")]
    pub fn set_error_hook(&self, hook: impl Fn(&Failure<'_>) + 'static) {
        if self.inner.closed.get() {
            return;
        }
        let before = self.inner.error_hook.replace(Some(Rc::new(hook)));
        drop(before);
    }

    /// Ends what [`set_error_hook`](IoLoop::set_error_hook) began.
    pub fn clear_error_hook(&self) {
        let before = self.inner.error_hook.take();
        drop(before);
    }
}

impl Inner {
    /// Calls `f`, which says where it came from; `false` if it panicked (IL13).
    pub(crate) fn guarded(&self, f: impl FnOnce()) -> bool {
        match catch_unwind(AssertUnwindSafe(f)) {
            Ok(()) => true,
            Err(panic) => {
                self.failed(panic);
                false
            }
        }
    }

    /// Calls `f`, which is nobody's work in particular.
    pub(crate) fn quietly(&self, what: &'static str, f: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(f)) {
            logged(|| tracing::error!(panic = message(&*panic), "a {what} panicked"));
            self.report(None, panic);
        }
    }

    /// The work that runs has panicked: counts, logs and reports that.
    pub(crate) fn failed(&self, panic: Box<dyn Any + Send>) {
        let origin = self.dispatch.origin();
        logged(|| match origin {
            Some(Origin { kind, label, location, .. }) => {
                tracing::error!(%label, added_at = %location, panic = message(&*panic), "a {kind} panicked");
            }
            None => tracing::error!(panic = message(&*panic), "a callback panicked"),
        });
        self.report(origin, panic);
    }

    fn report(&self, origin: Option<Origin>, panic: Box<dyn Any + Send>) {
        count(&self.tally.panics);
        let hook = self.error_hook.borrow().clone();
        if let Some(hook) = hook {
            let failure = Failure { origin, message: message(&*panic) };
            // By value: a hook that has taken itself back is dropped here, too.
            let told = catch_unwind(AssertUnwindSafe(move || hook(&failure)));
            told.unwrap_or_else(discard);
        }
        discard(panic);
    }
}
