//! Periodic callbacks: a heartbeat, and a slow poll that skips the slots it misses instead of overlapping itself.
//!
//! ```text
//! cargo run -p ioloop --example periodic
//! ```
//!
//! It ends by itself after two seconds. `unwrap` is used only on values that are constant.

use std::time::Duration;

use ioloop::{IoLoop, PeriodicCallback};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let io_loop = IoLoop::new()?;
    let began = io_loop.now();
    let say = move |what: &str| {
        println!("{:5} ms: {what}", (IoLoop::current().now() - began).as_millis());
    };

    // Every 200 ms, give or take 5 %, so that a thousand of these programs would not all beat at once.
    let heartbeat = PeriodicCallback::new(move || say("beat"), Duration::from_millis(200)).unwrap();
    let heartbeat = heartbeat.jitter(0.1).unwrap();

    // Every 300 ms, but each poll takes 400 ms: so it begins in every second slot.
    let mut polls = 0;
    let poll = async move || {
        polls += 1;
        say(&format!("poll {polls} begins"));
        ioloop::sleep(Duration::from_millis(400)).await;
        say(&format!("poll {polls} has ended"));
    };
    let poll = PeriodicCallback::new_async(poll, Duration::from_millis(300)).unwrap();

    io_loop.run_sync(async {
        heartbeat.start();
        poll.start();
        ioloop::sleep(Duration::from_secs(2)).await;
    })?;
    Ok(())
}
