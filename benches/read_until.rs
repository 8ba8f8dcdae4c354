//! What `read_until` costs above its transport: no socket. Run: `cargo bench -p benches --bench read_until`

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ioloop::IoLoop;
use iostream::testing::{Script, scripted};
use iostream::{IoStream, StreamError};

/// What is read between two looks at the clock; as much as one read takes from a socket.
const BATCH_BYTES: usize = 64 * 1024;

fn line(bytes: usize) -> Vec<u8> {
    [&vec![b'x'; bytes - 2][..], b"\r\n"].concat()
}

/// Times reading a batch of lines; putting them into the transport is not timed.
async fn time(iterations: u64, line_bytes: usize, segment_bytes: usize) -> Result<Duration, StreamError> {
    let (transport, script): (_, Script) = scripted();
    let stream = IoStream::new(transport).expect("a scripted transport has no socket to switch");
    let lines = line(line_bytes).repeat(BATCH_BYTES / line_bytes);
    let mut spent = Duration::ZERO;
    for _ in 0..iterations {
        script.send_in_segments(&lines, segment_bytes);
        let began = Instant::now();
        for _ in 0..BATCH_BYTES / line_bytes {
            black_box(stream.read_until(b"\r\n").await?);
        }
        spent += began.elapsed();
        ioloop::yield_now().await; // every batch has a turn's share to itself
    }
    Ok(spent)
}

fn read_until(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("iostream/read_until");
    group.throughput(Throughput::Bytes(BATCH_BYTES as u64));
    for line_bytes in [64, 4096] {
        // All lines in one read, and a read for each line as with a client that waits for its answers.
        for (name, segment_bytes) in [("in_one_read", BATCH_BYTES), ("a_read_each", line_bytes)] {
            group.bench_function(format!("{line_bytes}_bytes/{name}"), |bencher| {
                bencher.iter_custom(|iterations| {
                    let io_loop = IoLoop::new().expect("a loop");
                    io_loop
                        .run_sync(time(iterations, line_bytes, segment_bytes))
                        .expect("the loop runs")
                        .expect("every line is there")
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, read_until);
criterion_main!(benches);
