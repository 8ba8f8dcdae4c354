//! A conversation that moves from stream to stream, wherever it stands: not a byte is lost, and no wake either.
//!
//! `IOSTREAM_SEEDS=1000 cargo test -p iostream --test detach_anywhere` tries more.

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

use ioloop::IoLoop;
use iostream::testing::Faults;
use iostream::{IoStream, StreamOptions, leased_blocks};
use support::random::Random;
use support::transports::{BothWays, Connect, Memory};
use support::{noise, poll_once};
use tls_over::Tls;

async fn write_all(mut stream: IoStream, data: Vec<u8>, random: Random) {
    let mut rest = &data[..];
    while !rest.is_empty() {
        let (part, later) = rest.split_at(random.size().min(rest.len()));
        rest = later;
        stream.write(part.to_vec()).await.unwrap();
        if random.one_in(3) {
            let parts = stream.detach().unwrap();
            assert!(parts.unread.is_empty());
            stream = IoStream::new(parts.transport).unwrap();
        }
    }
    stream.shutdown_write().await.unwrap();
}

async fn read_all(mut stream: IoStream, random: &Random) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let n = random.size();
        if random.one_in(3)
            && let Some(Ok(bytes)) = poll_once(stream.read_bytes(n)).await
        {
            all.extend_from_slice(&bytes);
        }
        if random.one_in(3) {
            let parts = stream.detach().unwrap();
            all.extend_from_slice(&parts.unread);
            stream = IoStream::new(parts.transport).unwrap();
        }
        match stream.read_partial(n).await {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(error) => {
                assert!(stream.is_end_of_stream(), "{error}");
                return all;
            }
        }
    }
}

fn anywhere<C: BothWays>(transport: impl Fn(u64) -> C) {
    let seeds = std::env::var("IOSTREAM_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        println!("seed {seed}"); // shown when it fails
        let random = Random::new(seed);
        let transport = transport(seed);
        transport.run(async {
            let (writer, reader) = transport.connect(StreamOptions::new()).await;
            let data = noise(10_000);
            let writing = IoLoop::current().spawn(write_all(writer, data.clone(), random.clone()));
            assert!(read_all(reader, &random).await == data);
            writing.await.unwrap();
            assert_eq!(leased_blocks(), 0);
        });
    }
}

over_each_transport!(anywhere);

/// A record that comes byte by byte takes several shares of reading, between which TLS wakes its stream by itself: the one that it is
/// in now.
#[test]
fn a_tls_session_wakes_the_stream_that_it_has_come_to() {
    for tls in Tls::each(|| Memory(Faults::new().largest_read(1))) {
        tls.run(async {
            let (writer, reader) = tls.connect(StreamOptions::new()).await;
            let parts = reader.detach().unwrap();
            drop(reader);
            let reader = IoStream::new(parts.transport).unwrap();
            writer.write("a record").await.unwrap();
            assert_eq!(reader.read_bytes(8).await.unwrap(), "a record");
        });
    }
}

#[test]
fn a_tls_session_that_has_said_its_end_takes_no_more_wherever_it_has_come_to_and_reads_on() {
    for tls in Tls::each(|| Memory(Faults::new())) {
        tls.run(async {
            let (ended, other) = tls.connect(StreamOptions::new()).await;
            ended.shutdown_write().await.unwrap();
            let parts = ended.detach().unwrap();
            let moved = IoStream::new(parts.transport).unwrap();
            other.write("a record").await.unwrap();
            assert!(other.read_until_close().await.unwrap().is_empty());
            assert_eq!(moved.read_bytes(8).await.unwrap(), "a record");
            assert!(moved.write("more").await.unwrap_err().is_disconnect(), "as with a socket");
        });
    }
}
