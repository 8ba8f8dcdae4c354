//! What a TLS stream costs that only waits. A file of its own, because it counts all memory of the process.

#[path = "support/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod peer;
mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use iostream::IoStream;
use iostream::leased_blocks;
use peak_alloc::PeakAlloc;
use support::{noise, poll_once, run, stream};
use wire::{Authority, NAME, VERSIONS, Wire};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The bytes that `make` leaves allocated.
async fn kept<T>(make: impl AsyncFn() -> T) -> (usize, T) {
    drop(make().await); // what is allocated once and for all
    let before = MEMORY.current_usage();
    let made = make().await;
    (MEMORY.current_usage().saturating_sub(before), made)
}

#[test]
fn io51_an_idle_stream_holds_no_buffer_of_ours_and_little_of_rustls() {
    for version in VERSIONS {
        run(async {
            let authority = Authority::new();
            let acceptor = authority.issue(NAME).server().versions([version]).build().unwrap().into();
            let (plain, _stream) = kept(async || stream()).await;
            // The server's side after much went both ways; the other end is put away, so that it does not count.
            let (both, (server, client)) = kept(async || {
                let config = authority.client().build().unwrap();
                let (server, client) = wire::handshake(&Wire::default(), &acceptor, &config, NAME).await;
                let (server, client): (IoStream, IoStream) = (server.unwrap(), client.unwrap());
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let data = noise(200_000);
                    drop(from.write(data.clone()));
                    assert!(to.read_bytes(data.len()).await.unwrap() == data);
                }
                for idle in [&server, &client] {
                    assert!(poll_once(idle.read_bytes(1)).await.is_none());
                }
                (server, client)
            })
            .await;
            assert_eq!(leased_blocks(), 0);
            let before = MEMORY.current_usage();
            drop(server);
            let server = before - MEMORY.current_usage();
            drop(client);
            println!(
                "{version:?}: {server} bytes on a server, {plain} bytes without TLS; both sides and wire {both}"
            );
            assert!(server < 10 * 1024, "{server} bytes");
        });
    }
}
