//! Three loops in three threads, each with a timer of its own, throw a ball to each other by `Remote`.
//!
//! Run it:  cargo run -p ioloop --example three_loops             until Ctrl-C
//!          cargo run -p ioloop --example three_loops -- --once   until the ball has gone round once

use std::error::Error;
use std::time::Duration;

use ioloop::{IoLoop, Loops, LoopsHandle, sleep, worker_index};

/// How long each of the three holds the ball.
const HOLDS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(100), Duration::from_millis(200)];

fn main() -> Result<(), Box<dyn Error>> {
    let last_throw = if std::env::args().any(|flag| flag == "--once") { HOLDS.len() } else { usize::MAX };

    let loops = Loops::new(HOLDS.len()).name("player").spawn(|worker| async move {
        println!("loop {} plays", worker.index());
        worker.ready();
        worker.stopping().await;
        println!("loop {} goes home", worker.index());
    })?;

    // This thread has a loop too: it waits for Ctrl-C and for the end of the others.
    IoLoop::current().run_sync(async {
        stop_on_interrupt(&loops)?;
        loops.ready().await?;
        throw(&loops, 0, 1, last_throw);
        loops.ended().await?;
        Ok(())
    })?
}

/// Has the loop of another thread catch the ball. What crosses is the function; its future is made there.
fn throw(loops: &LoopsHandle, to: usize, number: usize, last: usize) {
    let Some(remote) = loops.remote(to) else { return }; // its worker has just ended
    let loops = loops.clone();
    remote.spawn(move || catch(loops, number, last));
}

/// Runs on the loop that was thrown to.
async fn catch(loops: LoopsHandle, number: usize, last: usize) {
    let me = worker_index().expect("a worker's thread");
    sleep(HOLDS[me]).await;
    println!("loop {me} throws: {number}");
    if number == last {
        return loops.stop();
    }
    throw(&loops, (me + 1) % HOLDS.len(), number + 1, last);
}

#[cfg(unix)]
fn stop_on_interrupt(loops: &LoopsHandle) -> std::io::Result<()> {
    let (mut interrupt, loops) = (ioloop::signal(ioloop::SignalKind::Interrupt)?, loops.clone());
    IoLoop::current().spawn_detached(async move {
        interrupt.recv().await;
        loops.stop();
    });
    Ok(())
}

/// Without signals Ctrl-C ends the process, and with it the threads.
#[cfg(not(unix))]
fn stop_on_interrupt(_loops: &LoopsHandle) -> std::io::Result<()> {
    Ok(())
}
