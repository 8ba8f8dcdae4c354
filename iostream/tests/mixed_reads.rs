//! A million random bytes through a random mix of all read calls, given up at random: what comes out is what went in
//! (Tornado's test_many_mixed_reads), over every transport.
//!
//! `IOSTREAM_SEEDS=100 cargo test -p iostream --test mixed_reads` tries more; `IOSTREAM_SEED=7` tries that one alone. A
//! failure prints its seed; in memory that gives the very same run again, over sockets the kernel's timing has a say too.
//! `IOSTREAM_BYTES=100000` sends less, which is another run of the same seed.

mod support;
#[path = "support/tls_over.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod tls_over;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncBufReadExt, AsyncReadExt};
use ioloop::{IoLoop, timeout};
use iostream::testing::{Faults, Script};
use iostream::{AsyncIo, IoStream, Regex, StreamError, StreamOptions, leased_blocks};
use support::random::Random;
use support::transports::{Connect, Memory, Tcp};
#[cfg(unix)]
use support::transports::{Pipe, Pipes, Unix};
use support::{poll_once, run, stream_with};
use tls_over::Tls;

/// Bytes of a run.
fn size() -> usize {
    setting("IOSTREAM_BYTES").unwrap_or(1_000_000) as usize
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// Bytes with a line end every hundred or so, and a rarer double one.
fn text(random: &Random) -> Vec<u8> {
    let bytes = size();
    let mut data: Vec<u8> = (0..bytes).map(|_| random.next() as u8).collect();
    for _ in 0..bytes / 200 {
        let at = random.below(bytes - 4);
        let end: &[u8] = if random.one_in(4) { b"\r\n\r\n" } else { b"\r\n" };
        data[at..at + end.len()].copy_from_slice(end);
    }
    data
}

fn each_seed(test: impl Fn(u64)) {
    let seeds = match setting("IOSTREAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("IOSTREAM_SEEDS").unwrap_or(4),
    };
    for seed in seeds {
        println!("IOSTREAM_SEED={seed} IOSTREAM_BYTES={}", size()); // shown when it fails
        test(seed);
    }
}

fn options(random: &Random, bytes: usize) -> StreamOptions {
    let options = StreamOptions::new().max_buffer_size(bytes + 1).max_write_buffer_size(random.size());
    if random.one_in(2) { options.read_chunk_size(random.size()) } else { options }
}

/// Gives up the read now and then: at once, or after a little while.
async fn perhaps<F: Future>(random: &Random, read: F) -> Option<F::Output> {
    match random.below(4) {
        0 => poll_once(read).await,
        1 => timeout(Duration::from_micros(random.below(50) as u64), read).await.ok(),
        _ => Some(read.await),
    }
}

/// One read of a random kind, of `bytes` bytes in all. `None` if it was given up or its limit was passed.
async fn read_somehow(
    stream: &IoStream,
    regex: &Regex,
    random: &Random,
    bytes: usize,
) -> Option<Result<Bytes, StreamError>> {
    let n = random.size();
    let read = match random.below(15) {
        0 => perhaps(random, stream.read_bytes(n)).await?,
        1 => perhaps(random, stream.read_until(b"\r\n")).await?,
        2 => perhaps(random, stream.read_until_max(b"\r\n\r\n", n)).await?,
        3 => perhaps(random, stream.read_until_regex(regex)).await?,
        4 => perhaps(random, stream.read_until_regex_max(regex, n)).await?,
        5 => perhaps(random, stream.read_partial(n)).await?,
        6 => {
            let mut target = vec![0; n];
            let read = perhaps(random, stream.read_into(&mut target)).await?;
            read.map(|n| Bytes::copy_from_slice(&target[..n]))
        }
        7 => {
            let mut target = vec![0; n];
            let read = perhaps(random, stream.read_exact(&mut target)).await?;
            read.map(|()| Bytes::from(target))
        }
        8 => perhaps(random, stream.fill()).await?.map(|_| stream.take_buffered(n)),
        9 => Ok(stream.read_with(|shown| {
            let used = shown.len().min(n);
            (used, Bytes::copy_from_slice(&shown[..used]))
        })),
        10 => {
            let used = stream.buffered().min(n);
            let looked_at = stream.read_with(|shown| (0, Bytes::copy_from_slice(&shown[..used])));
            stream.consume(used);
            Ok(looked_at)
        }
        // With a limit that is out of reach, as meeting it ends the stream.
        11 => perhaps(random, stream.read_until_or_close(b"\r\n", bytes + 1)).await?,
        // For a moment only, as it takes everything.
        12 => poll_once(stream.read_until_close()).await?,
        13 => Ok(perhaps(random, read_by_tokios_traits(stream, n)).await?),
        _ => Ok(perhaps(random, read_by_futures_traits(stream, n)).await?),
    };
    match read {
        Err(StreamError::DelimiterNotFound { .. }) => None,
        read => Some(read),
    }
}

async fn read_by_tokios_traits(stream: &IoStream, n: usize) -> Bytes {
    let mut target = vec![0; n];
    let read = tokio::io::AsyncReadExt::read(&mut AsyncIo::new(stream.clone()), &mut target).await.unwrap();
    target.truncate(read);
    target.into()
}

/// Looks at what is there, takes a part of it, and reads once more.
async fn read_by_futures_traits(stream: &IoStream, n: usize) -> Bytes {
    let mut io = AsyncIo::new(stream.clone());
    let shown = io.fill_buf().await.unwrap();
    let used = shown.len().min(n);
    let mut taken = shown[..used].to_vec();
    io.consume(used);
    if used == n && io.stream().buffered() > 0 {
        let mut target = vec![0; n];
        let more = io.read(&mut target).await.unwrap();
        taken.extend_from_slice(&target[..more]);
    }
    taken.into()
}

async fn read_everything(stream: &IoStream, random: &Random, bytes: usize) -> Vec<u8> {
    let regex = Regex::new(r"\r?\n|[a-c]{3}").unwrap();
    let mut received = Vec::with_capacity(bytes);
    while received.len() < bytes - bytes / 10 {
        match read_somehow(stream, &regex, random, bytes).await {
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
            let (stream, script) = stream_with(options(&random, data.len()));
            let sender = IoLoop::current().spawn(send_scripted(script, data.clone(), Random::new(!seed)));
            let received = read_everything(&stream, &random, data.len()).await;
            assert!(received == data, "the bytes differ");
            sender.await.unwrap();
            assert_eq!(leased_blocks(), 0);
        });
    });
}

/// Writes random parts in all the ways there are, with random pauses.
async fn send(writer: IoStream, data: Vec<u8>, random: Random) {
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (part, later) = rest.split_at(random.size().min(rest.len()));
        rest = later;
        match random.below(5) {
            0 => writer.write(part.to_vec()).await.unwrap(),
            4 => writer.write_now(part).await.unwrap(),
            1 => writer.write_with(|out| out.extend_from_slice(part)).unwrap(),
            2 => writer.queue(part.to_vec()).unwrap(),
            _ => {
                writer.queue(part.to_vec()).unwrap();
                writer.flush().await.unwrap();
            }
        }
        match random.below(8) {
            0..4 => ioloop::yield_now().await,
            4 => ioloop::sleep(Duration::from_micros(random.below(100) as u64)).await,
            _ => {}
        }
    }
    writer.shutdown_write().await.unwrap();
}

fn mixed_reads<C: Connect>(transport: impl Fn(u64) -> C) {
    each_seed(|seed| {
        let random = Random::new(seed);
        let data = text(&random);
        let transport = transport(seed);
        transport.run(async {
            let (writer, reader) = transport.connect(options(&random, data.len())).await;
            let sender = IoLoop::current().spawn(send(writer, data.clone(), Random::new(!seed)));
            let received = read_everything(&reader, &random, data.len()).await;
            assert!(received == data, "the bytes differ");
            sender.await.unwrap();
            assert!(IoLoop::current().counters().registrations <= transport.registrations() as u64);
            assert_eq!(leased_blocks(), 0);
        });
    });
}

#[test]
fn a_million_bytes_through_mixed_reads_over_tcp() {
    mixed_reads(|_| Tcp);
}

#[cfg(unix)]
#[test]
fn a_million_bytes_through_mixed_reads_over_a_unix_socket() {
    mixed_reads(|_| Unix);
}

#[cfg(unix)]
#[test]
fn a_million_bytes_through_mixed_reads_over_a_pipe() {
    mixed_reads(|_| Pipe);
}

#[cfg(unix)]
#[test]
fn a_million_bytes_through_mixed_reads_over_a_pair_of_pipes() {
    mixed_reads(|_| Pipes);
}

/// Not a byte at a time: a million of them would be a test of patience.
fn memory(seed: u64) -> Memory {
    Memory(Faults::seeded(seed).capacity(20_000))
}

#[test]
fn a_million_bytes_through_mixed_reads_over_a_pair_in_memory() {
    mixed_reads(memory);
}

#[test]
fn a_million_bytes_through_mixed_reads_over_tls_over_tcp() {
    mixed_reads(|seed| Tls::seeded(Tcp, seed));
}

#[test]
fn a_million_bytes_through_mixed_reads_over_tls_over_a_pair_in_memory() {
    mixed_reads(|seed| Tls::seeded(memory(seed), seed));
}
