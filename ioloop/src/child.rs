//! Child processes: their end as something to wait for, without a thread (PR9, PR10).

use std::cell::{OnceCell, RefCell};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{Child, ExitStatus};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use rustix::process::{Pid, Signal as SignalNumber, kill_process};
use slab::Slab;

use crate::error::ChildError;
use crate::exit_event::ExitEvent;
use crate::signal::SignalKind;
use crate::{IoLoop, JoinHandle};

/// A child process whose end can be waited for on the loop.
///
/// The loop watches it from the moment this is made and collects its status when it ends, so it leaves no zombie,
/// whether somebody waits or not. On Linux that takes one descriptor and one registration, until the process ends (a
/// pidfd; kernel 5.3); elsewhere, and where a pidfd is refused, each child listens to SIGCHLD.
///
/// This is a handle: clones share one process. **Dropping it kills nothing**: the process goes on, and the loop still
/// collects its status. If the loop closes first, the next `ChildProcess` to be made in this program, or the next to be
/// dropped in this way, collects it.
#[derive(Clone)]
#[doc(alias = "Subprocess")]
pub struct ChildProcess {
    process: Rc<Process>,
}

/// What became of a process.
type Outcome = Result<ExitStatus, ChildError>;

type ExitCallback = Box<dyn FnOnce(Result<ExitStatus, ChildError>)>;

/// What handles, waits and the watching task share.
struct Process {
    id: u32,
    /// There until this is dropped.
    child: RefCell<Option<Child>>,
    outcome: OnceCell<Outcome>,
    /// Why nobody watches, if that is so; `outcome` counts for more.
    unwatched: OnceCell<ChildError>,
    waiting: RefCell<Slab<Waker>>,
    callback: RefCell<Option<JoinHandle<()>>>,
}

impl ChildProcess {
    /// Takes over a process and begins to watch it, on the current loop.
    ///
    /// What is left of its pipes stays open for as long as the process is known here, except standard input, which is
    /// closed, as [`std::process::Child::wait`] does: take out what you mean to use.
    ///
    /// This does not fail, so that no process is lost: if it cannot be watched, [`wait`](ChildProcess::wait) says so, and
    /// the other methods work still.
    ///
    /// # Panics
    ///
    /// When the thread has no loop and the operating system refuses one; see [`IoLoop::current`].
    #[must_use]
    pub fn new(child: Child) -> ChildProcess {
        ChildProcess::watched(child, ExitEvent::open)
    }

    fn watched(mut child: Child, open: fn(u32) -> io::Result<ExitEvent>) -> ChildProcess {
        collect_orphans();
        drop(child.stdin.take());
        let process = Rc::new(Process {
            id: child.id(),
            child: RefCell::new(Some(child)),
            outcome: OnceCell::new(),
            unwatched: OnceCell::new(),
            waiting: RefCell::default(),
            callback: RefCell::default(),
        });
        let watch = Watch(Rc::clone(&process));
        IoLoop::current().spawn_detached(async move { watch.run(open).await });
        ChildProcess { process }
    }

    /// The process id. Once the process has ended it may name another.
    #[must_use]
    #[doc(alias = "pid")]
    pub fn id(&self) -> u32 {
        self.process.id
    }

    /// Waits until the process ends; gives its status, whatever that is (`wait_for_exit(raise_error=False)`). On a process
    /// that has ended it is done at once. Any number of tasks may wait, and again and again.
    ///
    /// # Errors
    ///
    /// [`ReapedElsewhere`](ChildError::ReapedElsewhere) if somebody else has taken the status (Tornado never calls back
    /// then); [`NotWatched`](ChildError::NotWatched) and [`LoopClosed`](ChildError::LoopClosed) if nobody would notice
    /// the end.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn wait(&self) -> Result<ExitStatus, ChildError> {
        Wait { process: &self.process, place: None }.await
    }

    /// Waits until the process ends, and takes a status other than zero for an error (PR10:
    /// `wait_for_exit(raise_error=True)`).
    ///
    /// # Errors
    ///
    /// [`Failed`](ChildError::Failed), Tornado's `CalledProcessError`, with the status; and those of
    /// [`wait`](ChildProcess::wait).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time.
    pub async fn wait_for_exit(&self) -> Result<(), ChildError> {
        let status = self.wait().await?;
        if status.success() { Ok(()) } else { Err(ChildError::Failed(status)) }
    }

    /// The status, if the process has ended.
    ///
    /// # Errors
    ///
    /// [`ReapedElsewhere`](ChildError::ReapedElsewhere) if somebody else has taken it.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ChildError> {
        self.process.look().transpose()
    }

    /// Has `callback` called in a later turn of the loop once the process has ended, with what
    /// [`wait`](ChildProcess::wait) gives; also if it has ended already (PR10). Takes the place of a callback that was set
    /// before, and `None` only takes that back. On a loop that closes it is dropped.
    pub fn set_exit_callback(&self, callback: Option<ExitCallback>) {
        let task = callback.map(|callback| {
            let process = self.clone();
            IoLoop::current().spawn(async move { callback(process.wait().await) })
        });
        let previous = self.process.callback.replace(task);
        if let Some(previous) = previous {
            previous.abort();
        }
    }

    /// Kills the process (SIGKILL). Harmless on one that has ended. Its end is still to be waited for.
    ///
    /// # Errors
    ///
    /// What the operating system says; [`ReapedElsewhere`](ChildError::ReapedElsewhere), inside, if the id may name
    /// another process by now.
    pub fn kill(&self) -> io::Result<()> {
        self.send(SignalNumber::KILL)
    }

    /// Sends a signal. Harmless on a process that has ended.
    ///
    /// # Errors
    ///
    /// As for [`kill`](ChildProcess::kill).
    #[doc(alias = "send_signal")]
    #[doc(alias = "terminate")]
    pub fn signal(&self, kind: SignalKind) -> io::Result<()> {
        self.send(match kind {
            SignalKind::Terminate => SignalNumber::TERM,
            SignalKind::Interrupt => SignalNumber::INT,
            SignalKind::Hangup => SignalNumber::HUP,
            SignalKind::Child => SignalNumber::CHILD,
            SignalKind::User1 => SignalNumber::USR1,
            SignalKind::User2 => SignalNumber::USR2,
        })
    }

    /// As long as its status is not taken, no other process can have the id.
    fn send(&self, number: SignalNumber) -> io::Result<()> {
        match self.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let pid = self.process.child.borrow().as_ref().map(Pid::from_child);
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, number)?))
    }
}

/// Tornado's `returncode`: the exit code, or −s for a process that signal s has killed (PR10).
#[must_use]
#[doc(alias = "returncode")]
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(-status.signal()?)).unwrap_or(-1)
}

impl std::fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildProcess")
            .field("id", &self.process.id)
            .field("outcome", &self.process.outcome.get())
            .finish_non_exhaustive()
    }
}

impl Process {
    /// Takes the status if the process has ended.
    fn look(&self) -> Option<Outcome> {
        if self.outcome.get().is_none() {
            let result = self.child.borrow_mut().as_mut().map(Child::try_wait);
            let outcome = match result? {
                Ok(None) => return None,
                Ok(Some(status)) => Ok(status),
                Err(error) if is_no_child(&error) => Err(ChildError::ReapedElsewhere),
                Err(error) => Err(ChildError::NotWatched(Arc::new(error))),
            };
            let _ = self.outcome.set(outcome);
            self.tell();
        }
        self.outcome.get().cloned()
    }

    /// What a wait ends with.
    fn result(&self) -> Option<Outcome> {
        self.outcome.get().cloned().or_else(|| Some(Err(self.unwatched.get()?.clone())))
    }

    fn give_up(&self, why: ChildError) {
        if self.unwatched.set(why).is_ok() {
            self.tell();
        }
    }

    fn tell(&self) {
        let waiting = self.waiting.take();
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.outcome.get().is_none() {
            orphans().extend(self.child.get_mut().take());
            collect_orphans();
        }
    }
}

/// One task's wait; gives up its place when it is dropped.
struct Wait<'a> {
    process: &'a Process,
    place: Option<usize>,
}

impl Future for Wait<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let process = self.process;
        if self.place.is_none() {
            process.look(); // it may have ended this very moment
        }
        if let Some(result) = process.result() {
            return Poll::Ready(result);
        }
        let waker = cx.waker().clone();
        let mut waiting = process.waiting.borrow_mut();
        let previous = match self.place {
            Some(place) => Some(std::mem::replace(&mut waiting[place], waker)),
            None => {
                self.place = Some(waiting.insert(waker));
                None
            }
        };
        drop(waiting);
        drop(previous); // outside the borrow: it may be foreign code
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // Everybody's place is gone once there is a result, and nobody takes one any more.
        let waker = self.place.and_then(|place| self.process.waiting.borrow_mut().try_remove(place));
        drop(waker);
    }
}

/// The watching task's hold on the process. When the loop closes it is dropped with the task, and says so.
struct Watch(Rc<Process>);

impl Watch {
    async fn run(&self, open: fn(u32) -> io::Result<ExitEvent>) {
        let mut event = match open(self.0.id) {
            Ok(event) => event,
            Err(error) => return self.0.give_up(ChildError::NotWatched(Arc::new(error))),
        };
        // Look only after the event is armed: an end in between would be missed.
        while self.0.look().is_none() {
            event.occurred().await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.give_up(ChildError::LoopClosed);
    }
}

/// Processes that have outlived their loop and their handles.
static ORPHANS: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn orphans() -> std::sync::MutexGuard<'static, Vec<Child>> {
    ORPHANS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn collect_orphans() {
    orphans().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}

fn is_no_child(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::yield_now;

    /// A process that ends when its standard input is closed.
    fn cat() -> (Child, std::process::ChildStdin) {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        (child, input)
    }

    #[test]
    fn pr10_without_pidfds_the_end_is_noticed_by_sigchld() {
        let io_loop = IoLoop::new().unwrap();
        let run = io_loop.run_sync(async {
            let (first, second) = (cat(), cat());
            let children = [first.0, second.0].map(|child| ChildProcess::watched(child, ExitEvent::signal));
            yield_now().await; // both listen by now
            drop(second.1);
            assert!(children[1].wait().await.unwrap().success());
            assert!(children[0].try_wait().unwrap().is_none(), "one signal, and only its child has ended");
            drop(first.1);
            children[0].wait_for_exit().await
        });
        run.unwrap().unwrap();
    }

    #[test]
    fn a_process_that_cannot_be_watched_says_so_and_is_not_lost() {
        let io_loop = IoLoop::new().unwrap();
        let run = io_loop.run_sync(async {
            let (child, input) = cat();
            let refused = |_| Err(io::Error::from_raw_os_error(24));
            let process = ChildProcess::watched(child, refused);
            assert!(matches!(process.wait().await, Err(ChildError::NotWatched(_))));
            assert!(process.try_wait().unwrap().is_none());
            process.kill().unwrap();
            while process.try_wait().unwrap().is_none() {
                yield_now().await;
            }
            drop(input);
            process.wait().await
        });
        assert_eq!(exit_code(run.unwrap().unwrap()), -9);
    }

    #[test]
    fn waits_that_are_dropped_leave_nothing_behind() {
        let io_loop = IoLoop::new().unwrap();
        let run = io_loop.run_sync(async {
            let (child, input) = cat();
            let process = ChildProcess::new(child);
            for _ in 0..100 {
                let mut wait = std::pin::pin!(process.wait());
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(wait.as_mut().poll(cx).is_pending());
                assert!(wait.as_mut().poll(cx).is_pending());
                assert_eq!(process.process.waiting.borrow().len(), 1);
            }
            assert!(process.process.waiting.borrow().is_empty());
            drop(input);
            process.wait_for_exit().await
        });
        run.unwrap().unwrap();
    }
}
