//! Timers three ways: a callback once, one that can be taken back, and a task that sleeps.
//!
//! ```text
//! cargo run -p ioloop --example timer
//! ```

use std::error::Error;
use std::time::Duration;

use ioloop::{IoLoop, TimedOut};

fn main() -> Result<(), Box<dyn Error>> {
    let io_loop = IoLoop::new()?;

    // Tornado's way: a callback, later.
    io_loop.call_later(Duration::from_millis(20), || println!("20 ms: a callback"));

    // A timer that something else takes back in time.
    let alarm = io_loop.call_later(Duration::from_millis(60), || println!("this is never said"));
    let canceller = io_loop.clone();
    io_loop.call_later(Duration::from_millis(40), move || {
        canceller.remove_timeout(&alarm);
        println!("40 ms: the alarm is off");
    });

    // The way of futures: sleep, and give up waiting.
    io_loop.run_sync(async {
        ioloop::sleep(Duration::from_millis(80)).await;
        println!("80 ms: a task has slept");
        let endless = std::future::pending::<()>();
        if let Err(TimedOut) = ioloop::timeout(Duration::from_millis(20), endless).await {
            println!("100 ms: a wait was given up");
        }
    })?;
    Ok(())
}
