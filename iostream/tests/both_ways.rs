//! Both sides write, read and end at once, in tasks of their own and in every way there is: each reads what the other wrote, up to its
//! end, and hears of that end once; also where a relay that knows nothing of this house stands between them.
//!
//! `IOSTREAM_SEEDS=1000 cargo test -p iostream --test both_ways` tries more.

#[macro_use]
#[path = "support/over_each.rs"]
mod over_each;
mod support;
#[path = "support/tls_over.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod tls_over;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::{IoLoop, JoinHandle, timeout};
use iostream::{AsyncIo, CloseReason, IoStream, StreamError, StreamOptions, leased_blocks};
use support::random::Random;
use support::transports::BothWays;
use support::{noise, turns};

/// A slow wire has all the time it wants.
const NEVER: Duration = Duration::MAX;

/// One end of a connection at work.
struct Side {
    writing: JoinHandle<()>,
    reading: JoinHandle<Vec<u8>>,
    calls: Rc<Cell<u32>>,
}

impl Side {
    fn begin(stream: IoStream, data: Vec<u8>, random: &Random) -> Side {
        let calls = Rc::new(Cell::new(0));
        if random.one_in(2) {
            let calls = Rc::clone(&calls);
            stream.set_close_callback(Some(Box::new(move || calls.set(calls.get() + 1))));
        } else {
            calls.set(1);
        }
        let io_loop = IoLoop::current();
        if random.one_in(3) {
            let stream = stream.clone();
            io_loop.spawn_detached(async move { stream.closed().await });
        }
        let reading = io_loop.spawn(read_to_the_end(stream.clone(), random.clone()));
        let writing = io_loop.spawn(write_all(stream, data, random.clone()));
        Side { writing, reading, calls }
    }
}

async fn write_all(stream: IoStream, data: Vec<u8>, random: Random) {
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (part, later) = rest.split_at(random.size().min(rest.len()));
        rest = later;
        match random.below(5) {
            0 => stream.write(part.to_vec()).await.unwrap(),
            4 => stream.write_now(part).await.unwrap(),
            1 => stream.queue(part.to_vec()).unwrap(),
            2 => stream.write_with(|out| out.extend_from_slice(part)).unwrap(),
            // Given up, the wait for it changes nothing, as long as there was room.
            _ => {
                stream.queue(part.to_vec()).unwrap();
                let _ = timeout(Duration::from_micros(50), stream.flush()).await;
            }
        }
        pause(&random).await;
    }
    // Beside a read under way it is the other task that reads on.
    if random.one_in(2) && stream.is_reading() {
        stream.shutdown(NEVER).await.unwrap();
    } else {
        stream.shutdown_write().await.unwrap();
    }
}

/// No pause between two reads: who shuts down would read then.
async fn read_to_the_end(stream: IoStream, random: Random) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let n = random.size();
        let read = match random.below(4) {
            0 => stream.read_partial(n).await,
            1 => stream.read_bytes(n).await,
            2 => stream.read_until(b"\n").await,
            _ => stream.read_until_close().await,
        };
        match read {
            Ok(bytes) if bytes.is_empty() => return all,
            Ok(bytes) => all.extend_from_slice(&bytes),
            // By its own shutdown, which is done when the peer's end has been read.
            Err(StreamError::Closed(CloseReason::EndOfStream | CloseReason::Local))
                if stream.buffered() == 0 =>
            {
                return all;
            }
            Err(StreamError::Closed(CloseReason::EndOfStream | CloseReason::Local)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

async fn pause(random: &Random) {
    match random.below(6) {
        0 | 1 => ioloop::yield_now().await,
        2 => ioloop::sleep(Duration::from_micros(random.below(200) as u64)).await,
        _ => {}
    }
}

fn both_ways<C: BothWays>(transport: impl Fn(u64) -> C) {
    let seeds = std::env::var("IOSTREAM_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        println!("seed {seed}"); // shown when it fails
        let random = Random::new(seed);
        let transport = transport(seed);
        transport.run(async {
            let options = StreamOptions::new().max_write_buffer_size(random.size());
            let (left, mut right) = transport.connect(options).await;
            let mut relay = None;
            if random.one_in(3) {
                let (there, beyond) = transport.connect(options).await;
                relay = Some(relayed(std::mem::replace(&mut right, beyond), there));
            }
            let data = [(); 2].map(|()| noise(random.below(20_000)));
            let begin = |stream, data: &Vec<u8>| Side::begin(stream, data.clone(), &random);
            let sides = [begin(left, &data[0]), begin(right, &data[1])];
            for (side, expected) in sides.into_iter().zip([&data[1], &data[0]]) {
                side.writing.await.unwrap();
                let read = side.reading.await.unwrap();
                assert!(read == *expected, "{} bytes of {}", read.len(), expected.len());
                turns(3).await;
                assert_eq!(side.calls.get(), 1);
            }
            if let Some(relay) = relay {
                let carried = relay.await.unwrap();
                assert_eq!(carried, [data[0].len() as u64, data[1].len() as u64].into());
            }
            assert_eq!(leased_blocks(), 0);
        });
    }
}

/// Joins two connections by somebody else's code: tokio's, over its traits. Gives how much went there and back.
fn relayed(here: IoStream, there: IoStream) -> JoinHandle<(u64, u64)> {
    IoLoop::current().spawn(async move {
        let (mut here, mut there) = (AsyncIo::new(here), AsyncIo::new(there));
        tokio::io::copy_bidirectional(&mut here, &mut there).await.unwrap()
    })
}

over_each_transport!(both_ways);
