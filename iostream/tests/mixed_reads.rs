//! A million random bytes through a random mix of all read calls, given up at random: what comes out is what went in
//! (Tornado's test_many_mixed_reads).
//!
//! `IOSTREAM_SEEDS=100 cargo test -p iostream --test mixed_reads` tries more; `IOSTREAM_SEED=7` tries that one alone. A
//! failure prints its seed.

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ioloop::{IoLoop, timeout};
use iostream::testing::{Script, scripted};
use iostream::{IoStream, StreamError, StreamOptions, leased_blocks};
use support::random::Random;
use support::{poll_once, run};

const BYTES: usize = 1_000_000;

/// Bytes with a line end every hundred or so, and a rarer double one.
fn text(random: &Random) -> Vec<u8> {
    let mut data: Vec<u8> = (0..BYTES).map(|_| random.next() as u8).collect();
    for _ in 0..BYTES / 200 {
        let at = random.below(BYTES - 4);
        let end: &[u8] = if random.one_in(4) { b"\r\n\r\n" } else { b"\r\n" };
        data[at..at + end.len()].copy_from_slice(end);
    }
    data
}

fn each_seed(test: impl Fn(u64)) {
    let setting = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = match setting("IOSTREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("IOSTREAM_SEEDS").unwrap_or(4),
    };
    for seed in seeds {
        println!("IOSTREAM_SEED={seed}"); // shown when it fails
        test(seed);
    }
}

fn options(random: &Random) -> Rc<StreamOptions> {
    let mut options = StreamOptions::new().max_buffer_size(BYTES + 1);
    if random.one_in(2) {
        options = options.read_chunk_size(random.size());
    }
    Rc::new(options)
}

/// Gives up the read now and then: at once, or after a little while.
async fn perhaps<F: Future>(random: &Random, read: F) -> Option<F::Output> {
    match random.below(4) {
        0 => poll_once(read).await,
        1 => timeout(Duration::from_micros(random.below(50) as u64), read).await.ok(),
        _ => Some(read.await),
    }
}

/// One read of a random kind. `None` if it was given up or its limit was passed.
async fn read_somehow(stream: &IoStream, random: &Random) -> Option<Result<Bytes, StreamError>> {
    let n = random.size();
    match random.below(8) {
        0 => perhaps(random, stream.read_bytes(n)).await,
        1 => perhaps(random, stream.read_until(b"\r\n")).await,
        2 => match perhaps(random, stream.read_until_max(b"\r\n\r\n", n)).await {
            Some(Err(StreamError::DelimiterNotFound { .. })) => None,
            other => other,
        },
        3 => perhaps(random, stream.read_partial(n)).await,
        4 => {
            let mut target = vec![0; n];
            let read = perhaps(random, stream.read_into(&mut target)).await?;
            Some(read.map(|n| Bytes::copy_from_slice(&target[..n])))
        }
        5 => {
            let mut target = vec![0; n];
            let read = perhaps(random, stream.read_exact(&mut target)).await?;
            Some(read.map(|()| Bytes::from(target)))
        }
        6 => match perhaps(random, stream.fill()).await? {
            Ok(_) => Some(Ok(stream.take_buffered(n))),
            Err(error) => Some(Err(error)),
        },
        _ => Some(Ok(stream.read_with(|shown| {
            let used = shown.len().min(n);
            (used, Bytes::copy_from_slice(&shown[..used]))
        }))),
    }
}

async fn read_everything(stream: &IoStream, random: &Random) -> Vec<u8> {
    let mut received = Vec::with_capacity(BYTES);
    while received.len() < BYTES - 80_000 {
        match read_somehow(stream, random).await {
            Some(Ok(bytes)) => received.extend_from_slice(&bytes),
            None => {}
            // What is left may not satisfy a read that asks for much.
            Some(Err(error)) => assert!(stream.is_end_of_stream(), "{error}"),
        }
    }
    received.extend_from_slice(&stream.read_until_close().await.unwrap());
    received
}

/// Sends in random segments at random times, with short reads, storms of `WouldBlock` and empty events.
async fn send_scripted(script: Script, data: Vec<u8>, random: Random) {
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (segment, later) = rest.split_at(random.size().min(rest.len()));
        rest = later;
        script.send(segment);
        match random.below(12) {
            0 => script.set_largest_read(Some(random.size())),
            1 => script.set_largest_read(None),
            2 => script.block(random.below(4), 0),
            3 => script.notify_spuriously(),
            4..8 => ioloop::yield_now().await,
            8 => ioloop::sleep(Duration::from_micros(random.below(100) as u64)).await,
            _ => {}
        }
    }
    script.finish();
}

#[test]
fn a_million_bytes_through_mixed_reads_over_a_scripted_transport() {
    each_seed(|seed| {
        run(async {
            let random = Random::new(seed);
            let data = text(&random);
            let (transport, script) = scripted();
            let stream = IoStream::with_options(transport, options(&random)).unwrap();
            let sender = IoLoop::current().spawn(send_scripted(script, data.clone(), random.clone()));
            let received = read_everything(&stream, &random).await;
            assert!(received == data, "the bytes differ");
            sender.await.unwrap();
            assert_eq!(leased_blocks(), 0);
        });
    });
}

#[test]
fn a_million_bytes_through_mixed_reads_over_tcp() {
    each_seed(|seed| {
        let random = Random::new(seed);
        let data = text(&random);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = listener.accept().unwrap().0;
        let sender = std::thread::spawn({
            let data = data.clone();
            move || {
                let random = Random::new(seed ^ 0xffff);
                let mut rest = &data[..];
                while !rest.is_empty() {
                    let n = peer.write(&rest[..random.size().min(rest.len())]).unwrap();
                    rest = &rest[n..];
                }
            }
        });
        let io_loop = IoLoop::new().unwrap();
        let received = io_loop.run_sync_timeout(Duration::from_secs(60), async {
            let stream = IoStream::with_options(ours, options(&random)).unwrap();
            read_everything(&stream, &random).await
        });
        assert!(received.unwrap() == data, "the bytes differ");
        sender.join().unwrap();
        assert!(io_loop.counters().registrations <= 1);
        assert_eq!(leased_blocks(), 0);
    });
}
