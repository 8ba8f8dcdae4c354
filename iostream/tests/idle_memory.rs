//! What a TCP stream costs that only waits. A file of its own, because it counts all memory of the process.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use ioloop::IoLoop;
use iostream::{IoStream, leased_blocks};
use peak_alloc::PeakAlloc;
use support::{noise, poll_once};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const STREAMS: usize = 200;

/// More than one pooled block each way, and less than the kernel takes without a reader.
const TRAFFIC: usize = 100_000;

/// A stream that has read and written much and now waits for more, and its peer.
async fn idle_after_traffic(listener: &TcpListener, data: &[u8]) -> (IoStream, TcpStream) {
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stream = IoStream::new(listener.accept().unwrap().0).unwrap();
    peer.write_all(data).unwrap();
    assert!(stream.read_bytes(data.len()).await.unwrap() == data);
    stream.write(data.to_vec()).await.unwrap();
    peer.read_exact(&mut vec![0; data.len()]).unwrap();
    assert!(poll_once(stream.read_bytes(1)).await.is_none());
    (stream, peer)
}

#[test]
fn io5_an_idle_stream_holds_no_buffer_and_few_bytes_in_all() {
    let io_loop = IoLoop::new().unwrap();
    let test = async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let data = noise(TRAFFIC);
        drop(idle_after_traffic(&listener, &data).await); // what is allocated once and for all, the pool's blocks too
        let mut streams = Vec::with_capacity(STREAMS);
        let before = MEMORY.current_usage();
        for _ in 0..STREAMS {
            streams.push(idle_after_traffic(&listener, &data).await);
        }
        let each = (MEMORY.current_usage() - before) / STREAMS;
        assert_eq!(leased_blocks(), 0);
        println!("{each} bytes a stream, its share of the loop's tables included");
        assert!(each < 400, "{each} bytes");
        drop(streams);
    };
    io_loop.run_sync_timeout(Duration::from_secs(180), test).unwrap();
}
