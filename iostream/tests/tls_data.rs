//! What goes through an established TLS stream: nothing is stranded, nothing lost, and it costs what it should.

#[path = "support/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod peer;
mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use ioloop::IoLoop;
use iostream::tls::TlsVersion;
use iostream::{IoStream, leased_blocks};
use peer::Peer;
use support::{assert_end_of_stream, noise, poll_once, run, turns};
use wire::{Authority, NAME, VERSIONS, Wire, connected};

#[test]
fn io51_what_tls_holds_is_read_without_a_further_event() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            let data = noise(40_000);
            let mut reading = std::pin::pin!(stream.read_bytes(1));
            assert!(poll_once(reading.as_mut()).await.is_none());
            for piece in data.chunks(1000) {
                peer.say(piece); // a record each
            }
            peer.send();
            assert_eq!(reading.await.unwrap(), data[..1]);
            let mut byte = [0];
            for expected in &data[1..200] {
                assert_eq!((stream.read_into(&mut byte).await.unwrap(), byte), (1, [*expected]));
            }
            assert!(stream.read_bytes(data.len() - 200).await.unwrap() == data[200..]);
            assert_eq!(leased_blocks(), 0);
        });
    }
}

#[test]
fn io51_a_reader_of_single_bytes_gets_a_whole_record_from_one_event() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        let data = noise(300);
        peer.say(&data);
        peer.send();
        let mut target = [0; 1];
        for expected in &data {
            stream.read_exact(&mut target).await.unwrap();
            assert_eq!(target[0], *expected);
        }
        let mut seven = [0; 7];
        peer.say(&data);
        peer.send();
        for expected in data.chunks(7) {
            // Straight into the target, past the stream's buffer.
            let n = stream.read_into(&mut seven).await.unwrap();
            assert_eq!(&seven[..n], expected);
        }
    });
}

#[test]
fn io51_what_comes_right_behind_the_handshake_is_not_left_lying() {
    run(async {
        let authority = Authority::new();
        let acceptor = authority.issue(NAME).server().build().unwrap().into();
        let client = authority.client().build().unwrap();
        let (server, at_client) = Wire::default().streams();
        let connecting = IoLoop::current().spawn(async move {
            let early = at_client.clone();
            IoLoop::current().spawn_detached(async move { drop(early.write("GET /\r\n")) });
            at_client.start_tls_client(&client, NAME).await.map(|()| at_client)
        });
        server.start_tls_server(&acceptor).await.unwrap();
        assert_eq!(server.read_until(b"\r\n").await.unwrap(), "GET /\r\n");
        drop(connecting.await);
    });
}

#[test]
fn io51_an_event_between_two_reads_of_one_record_is_not_forgotten() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            assert!(poll_once(stream.read_bytes(1)).await.is_none());
            peer.say(b"first");
            peer.send();
            let mut target = [0; 2];
            assert_eq!(stream.read_into(&mut target).await.unwrap(), 2);
            peer.say(b"second");
            peer.send();
            turns(2).await; // the event comes while the rest of the first is still here
            let mut target = [0; 100];
            let mut received = Vec::new();
            while received.len() < 9 {
                let n = stream.read_into(&mut target).await.unwrap();
                received.extend_from_slice(&target[..n]);
            }
            assert_eq!(received, b"rstsecond");
        });
    }
}

#[test]
fn io51_a_reader_that_stops_keeps_a_block_until_it_goes_on() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.say(&noise(40_000));
        peer.send();
        let before = peer.script.calls();
        let mut target = [0; 10];
        assert_eq!(stream.read_into(&mut target).await.unwrap(), target.len());
        assert_eq!((stream.buffered(), leased_blocks()), (0, 1));
        assert_eq!(peer.script.calls().reads - before.reads, 2, "a little, and then all the rest");
        while poll_once(stream.fill()).await.is_some() {
            stream.consume(usize::MAX);
        }
        assert_eq!(leased_blocks(), 0);
    });
}

#[test]
fn io51_records_in_crumbs_arrive_whole() {
    for version in VERSIONS {
        for size in [1, 2, 3, 5, 17, 1000] {
            run(async {
                let (stream, mut peer) = Peer::connected(version).await;
                let data = noise(5000);
                peer.say(&data);
                let bytes = peer.ciphertext();
                peer.script.send_in_segments(bytes, size);
                assert!(stream.read_bytes(data.len()).await.unwrap() == data);
                assert!(poll_once(stream.read_bytes(1)).await.is_none());
            });
        }
    }
}

#[test]
fn io51_a_handshake_costs_one_read_for_each_flight_of_the_client() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        assert_eq!(peer.script.calls().reads, 2);
        peer.say(b"GET /\r\n");
        peer.send();
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "GET /\r\n");
        assert_eq!(peer.script.calls().reads, 3, "none in vain in between");
    });
}

#[test]
fn io51_a_request_costs_one_read_and_one_write() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        assert!(poll_once(stream.fill()).await.is_none()); // waiting, as a server is for a request
        let before = peer.script.calls();
        for _ in 0..10 {
            peer.say(b"GET / HTTP/1.1\r\n\r\n");
            peer.send();
            stream.read_until(b"\r\n\r\n").await.unwrap();
            stream.write("HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            assert_eq!(peer.receive(), b"HTTP/1.1 200 OK\r\n\r\n");
        }
        let after = peer.script.calls();
        assert_eq!((after.reads - before.reads, after.writes - before.writes), (10, 10));
        assert_eq!(after.attaches, 1);
    });
}

#[test]
fn io25_a_write_is_done_when_the_last_of_its_ciphertext_is_in_the_kernel() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.script.set_room(Some(50));
            let data = noise(100_000);
            let written = stream.write(data.clone());
            let mut written = std::pin::pin!(written);
            let mut arrived = Vec::new();
            for _ in 0..2500 {
                assert!(poll_once(written.as_mut()).await.is_none());
                arrived.extend(peer.receive());
                peer.script.set_room(Some(37));
                turns(1).await;
            }
            assert!(arrived.len() < data.len() && stream.is_writing());
            peer.script.set_room(None);
            written.await.unwrap();
            arrived.extend(peer.receive());
            assert!(arrived == data);
            assert_eq!(stream.bytes_sent(), data.len() as u64);
        });
    }
}

#[test]
fn io30_megabytes_cross_both_ways_at_once_through_little_room() {
    for version in VERSIONS {
        for wire in [Wire::default(), Wire::cut(usize::MAX, 20_000), Wire::cut(1500, 5000)] {
            run(async {
                let (server, client) = connected(&wire, version).await;
                let (there, back) = (noise(3_000_000), noise(2_000_000));
                let send = |stream: &IoStream, data: &[u8]| {
                    let (stream, data) = (stream.clone(), data.to_vec());
                    IoLoop::current().spawn(async move {
                        for piece in data.chunks(70_001) {
                            stream.write(piece.to_vec()).await.unwrap();
                        }
                        stream.shutdown_write().await.unwrap();
                    })
                };
                let sending = [send(&client, &there), send(&server, &back)];
                let receiving = IoLoop::current().spawn(async move { server.read_until_close().await });
                assert!(client.read_until_close().await.unwrap() == back);
                assert!(receiving.await.unwrap().unwrap() == there);
                for sent in sending {
                    sent.await.unwrap();
                }
                assert_eq!(leased_blocks(), 0);
            });
        }
    }
}

#[test]
fn io30_a_reader_that_pauses_holds_its_sender_back() {
    run(async {
        let wire = Wire::cut(usize::MAX, 10_000);
        let (server, client) = connected(&wire, TlsVersion::Tls13).await;
        let data = noise(1_000_000);
        let mut written = std::pin::pin!(client.write(data.clone()));
        assert!(poll_once(written.as_mut()).await.is_none());
        turns(20).await;
        assert!(server.buffered() == 0 && client.pending() > 900_000, "nobody reads");
        let reading = IoLoop::current().spawn(async move {
            let mut all = Vec::new();
            while all.len() < 1_000_000 {
                all.extend(server.read_partial(10_000).await.unwrap());
                turns(3).await;
            }
            all
        });
        written.await.unwrap();
        assert!(reading.await.unwrap() == data);
    });
}

#[test]
fn tls_goes_over_tls() {
    run(async {
        let wire = Wire::cut(10, 20);
        let (server, client) = connected(&wire, TlsVersion::Tls13).await;
        let authority = Authority::new();
        let acceptor = authority.issue("inner.test").server().build().unwrap().into();
        let config = authority.client().build().unwrap();
        let serving = IoLoop::current().spawn({
            let server = server.clone();
            async move { server.start_tls_server(&acceptor).await }
        });
        client.start_tls_client(&config, "inner.test").await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(server.tls_info().unwrap().server_name(), Some("inner.test"));
        let data = noise(100_000);
        drop(client.write(data.clone()));
        assert!(server.read_bytes(data.len()).await.unwrap() == data);
        let ending = IoLoop::current().spawn(async move {
            client.shutdown_write().await.unwrap();
            assert!(wire.to_server().ended.get(), "both layers and the wire");
        });
        assert_end_of_stream(server.read_bytes(1).await);
        ending.await.unwrap();
    });
}

#[test]
fn io51_what_tls_has_to_say_goes_out_when_there_is_room_though_nobody_writes() {
    run(async {
        let authority = Authority::new();
        let acceptor = authority.issue(NAME).server().build().unwrap().into();
        let (stream, mut peer) = Peer::new(&authority);
        peer.send();
        let mut accepting = std::pin::pin!(stream.start_tls_server(&acceptor));
        assert!(poll_once(accepting.as_mut()).await.is_none());
        peer.receive();
        peer.script.set_room(Some(0));
        peer.send(); // the end of the handshake, which is answered with tickets
        accepting.await.unwrap();
        turns(2).await;
        assert!(peer.script.received().is_empty());
        peer.script.set_room(Some(10));
        turns(2).await;
        peer.script.set_room(None);
        turns(2).await;
        peer.receive();
        assert!(peer.tls.tls13_tickets_received() > 0);
    });
}

#[test]
fn keys_are_changed_under_way() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        for _ in 0..3 {
            peer.tls.refresh_traffic_keys().unwrap(); // which asks for the same in return
            peer.say(b"ping");
            peer.send();
            assert_eq!(stream.read_bytes(4).await.unwrap(), "ping");
            stream.write("pong").await.unwrap();
            assert_eq!(peer.receive(), b"pong");
        }
    });
}

#[test]
fn a_session_that_was_detached_goes_on_in_another_stream() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.say(b"before, and after");
        peer.send();
        assert_eq!(stream.read_bytes(6).await.unwrap(), "before");
        let parts = stream.detach().unwrap();
        assert_eq!(parts.unread, ", and after");
        let stream = IoStream::new(parts.transport).unwrap();
        peer.say(b"still private");
        peer.send();
        assert_eq!(stream.read_bytes(13).await.unwrap(), "still private");
        stream.write("so it is").await.unwrap();
        assert_eq!(peer.receive(), b"so it is");
    });
}
