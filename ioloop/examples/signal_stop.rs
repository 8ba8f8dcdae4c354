//! Works until it is told to stop: SIGTERM or Ctrl-C ends it gracefully, SIGHUP makes it reload. It also works as PID 1 of a
//! container, for which the kernel ignores signals that the program does not listen for.
//!
//! ```text
//! cargo run -p ioloop --example signal_stop
//! ```
//! and in another terminal: `pkill -HUP signal_stop`, then `pkill -TERM signal_stop`.

use std::cell::Cell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, PeriodicCallback, SignalKind, signal};

fn main() -> Result<(), Box<dyn Error>> {
    let io_loop = IoLoop::new()?;
    io_loop.make_current();

    for (name, kind) in [("SIGTERM", SignalKind::Terminate), ("SIGINT", SignalKind::Interrupt)] {
        let mut asked = signal(kind)?;
        let stop = io_loop.clone();
        io_loop.spawn_detached(async move {
            asked.recv().await;
            println!("{name}: this turn ends, and that is all");
            stop.stop();
        });
    }
    let mut reload = signal(SignalKind::Hangup)?;
    io_loop.spawn_detached(async move {
        loop {
            reload.recv().await;
            println!("SIGHUP: reloaded");
        }
    });

    let done = Rc::new(Cell::new(0));
    let work = Rc::clone(&done);
    let ticks = PeriodicCallback::new(move || work.set(work.get() + 1), Duration::from_millis(10))?;
    ticks.start();

    // Said last: every signal from now on is heard.
    println!("working as process {}", std::process::id());
    io_loop.start()?;
    println!("{} pieces of work done", done.get());
    Ok(())
}
