//! The handshake: how it is begun and waited for, what it checks, and everything that ends it.

mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::testing::pair;
use iostream::tls::{DEFAULT_HANDSHAKE_TIMEOUT, TlsAcceptor, TlsError, TlsInfo, TlsVersion};
use iostream::{CloseReason, IoStream, StreamError, StreamOptions};
use support::{assert_closed_here, noise, poll_once, run, stream, turns};
use wire::{
    Authority, NAME, VERSIONS, Wire, alert, connected, handshake, refusal, sides, sides_for, tls_error,
};

#[test]
fn io46_the_handshake_needs_nobody_to_read_or_write() {
    for version in VERSIONS {
        run(async {
            let (server, client) = connected(&Wire::default(), version).await;
            assert_eq!(server.tls_info().map(|info| info.version()), Some(version));
            assert_eq!(client.tls_info().map(|info| info.version()), Some(version));
        });
    }
}

#[test]
fn io46_it_works_however_the_bytes_are_cut_and_however_little_room_there_is() {
    for version in VERSIONS {
        for (piece, capacity) in
            [(1, 100_000), (1, 1), (2, 3), (5, 7), (100, 100), (4096, 1000), (100_000, 100_000)]
        {
            run(async {
                let (server, client) = connected(&Wire::cut(piece, capacity), version).await;
                drop(client.write("hello"));
                drop(server.write("welcome"));
                assert_eq!(server.read_bytes(5).await.unwrap(), "hello");
                assert_eq!(client.read_bytes(7).await.unwrap(), "welcome");
            });
        }
    }
}

#[test]
fn io46_what_is_written_meanwhile_goes_out_behind_the_handshake() {
    for version in VERSIONS {
        run(async {
            let (acceptor, config) = sides_for(version);
            let (server, client) = Wire::default().streams();
            let io_loop = IoLoop::current();
            let serving = io_loop.spawn({
                let server = server.clone();
                async move { server.start_tls_server(&acceptor).await }
            });
            let connecting = io_loop.spawn({
                let client = client.clone();
                async move { client.start_tls_client(&config, NAME).await }
            });
            turns(1).await;
            let written = [server.write("from the server"), client.write("from the client")];
            serving.await.unwrap().unwrap();
            connecting.await.unwrap().unwrap();
            assert_eq!(client.read_bytes(15).await.unwrap(), "from the server");
            assert_eq!(server.read_bytes(15).await.unwrap(), "from the client");
            for write in written {
                write.await.unwrap();
            }
        });
    }
}

#[test]
fn io48_it_can_be_waited_for_by_one_and_a_second_is_told() {
    run(async {
        let (acceptor, _) = sides();
        let (stream, _script) = stream();
        let waiting = stream.start_tls_server(&acceptor);
        let mut waiting = std::pin::pin!(waiting);
        assert!(poll_once(waiting.as_mut()).await.is_none());
        assert!(matches!(stream.start_tls_server(&acceptor).await, Err(StreamError::AlreadyReading)));
        assert!(matches!(stream.read_bytes(1).await, Err(StreamError::AlreadyReading)));
        assert!(stream.is_reading() && !stream.is_closed());
        assert!(stream.tls_info().is_none(), "nothing is agreed on yet");
    });
}

#[test]
fn io48_a_failure_carries_what_went_wrong_and_closes_both_ends() {
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    let old = TlsAcceptor::new(issued.server().versions([TlsVersion::Tls12]).build().unwrap());
    let new = authority.client().versions([TlsVersion::Tls13]).build().unwrap();
    run(async {
        let (server, client) = handshake(&Wire::default(), &old, &new, NAME).await;
        assert!(matches!(tls_error(server), TlsError::NothingInCommon(_)));
        assert_eq!(alert(&tls_error(client)), 70, "protocol_version");
    });
}

#[test]
fn io49_unread_input_unsent_output_and_another_reader_are_in_the_way_and_the_stream_stays_as_it_was() {
    run(async {
        let (acceptor, config) = sides();
        let (stream, script) = stream();
        script.send("STARTTLS\r\nRCPT TO:<injected>\r\n");
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "STARTTLS\r\n");
        assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::UnreadInput(20));
        assert_eq!(tls_error(stream.start_tls_client(&config, NAME).await), TlsError::UnreadInput(20));
        assert_eq!(stream.read_until(b"\r\n").await.unwrap(), "RCPT TO:<injected>\r\n");

        script.set_room(Some(3));
        drop(stream.write("220 go on"));
        turns(2).await;
        assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::UnsentOutput(6));
        script.set_room(None);
        stream.flush().await.unwrap();

        let mut reading = std::pin::pin!(stream.read_bytes(1));
        assert!(poll_once(reading.as_mut()).await.is_none());
        assert!(matches!(stream.start_tls_server(&acceptor).await, Err(StreamError::AlreadyReading)));
        script.send("x");
        assert_eq!(reading.await.unwrap(), "x");
        assert_eq!(script.received(), b"220 go on", "nothing of TLS has been sent");
    });
}

#[test]
fn io49_what_is_read_with_something_that_came_in_front_of_it_is_the_handshake_if_so_wished() {
    run(async {
        let (acceptor, config) = sides();
        let (server, client) = pair();
        let client = IoLoop::current().spawn(async move {
            client.write("header\n").await?;
            client.start_tls_client(&config, NAME).await?;
            client.write("hello\n").await?;
            client.read_until(b"\n").await
        });
        turns(5).await;
        assert_eq!(server.read_until(b"\n").await.unwrap(), "header\n");
        let unread = server.buffered();
        assert!(unread > 100, "the client has begun");
        assert_eq!(tls_error(server.start_tls_server(&acceptor).await), TlsError::UnreadInput(unread));
        server.start_tls_server_on_unread(&acceptor).await.unwrap();
        let line = server.read_until(b"\n").await.unwrap();
        server.write(line).await.unwrap();
        assert_eq!(client.await.unwrap().unwrap(), "hello\n");
    });
}

#[test]
fn io49_a_side_cannot_be_ended_in_the_middle_of_a_handshake() {
    run(async {
        let (acceptor, _) = sides();
        let (stream, script) = stream();
        let mut waiting = std::pin::pin!(stream.start_tls_server(&acceptor));
        assert!(poll_once(waiting.as_mut()).await.is_none());
        let refused = stream.shutdown_write().await;
        support::assert_failed_with(refused, std::io::ErrorKind::NotConnected);
        assert!(waiting.await.is_err() && script.is_closed());
        assert_eq!(script.received(), b"");
    });
}

#[test]
fn io49_a_stream_that_has_ended_cannot_begin() {
    run(async {
        let (acceptor, _) = sides();
        let (ended, script) = stream();
        script.finish();
        support::assert_end_of_stream(ended.read_bytes(1).await);
        support::assert_end_of_stream(ended.start_tls_server(&acceptor).await);
        let (shut, _script) = stream();
        shut.shutdown_write().await.unwrap();
        assert_closed_here(shut.start_tls_server(&acceptor).await);
        let (closed, _script) = stream();
        closed.close();
        assert_closed_here(closed.start_tls_server(&acceptor).await);
    });
}

#[test]
fn io49_plaintext_that_is_injected_behind_the_command_ends_the_stream_and_is_never_read() {
    run(async {
        let (acceptor, _) = sides();
        let (stream, script) = stream();
        script.send("STARTTLS\r\n");
        stream.read_until(b"\r\n").await.unwrap();
        script.send("RCPT TO:<injected>\r\n"); // still in the kernel when TLS begins
        assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::NotTls);
        assert_eq!(stream.buffered(), 0);
        assert!(stream.is_closed() && script.is_closed());
    });
}

#[test]
fn io49_smtp_goes_over_to_tls_in_mid_dialogue_on_both_sides() {
    for version in VERSIONS {
        run(async {
            let (acceptor, config) = sides_for(version);
            let (server, client) = Wire::default().streams();
            let serving = IoLoop::current().spawn(async move {
                server.write("220 hello\r\n").await?;
                assert_eq!(server.read_until(b"\r\n").await?, "STARTTLS\r\n");
                server.write("220 go on\r\n").await?;
                server.start_tls_server(&acceptor).await?;
                assert_eq!(server.read_until(b"\r\n").await?, "EHLO\r\n");
                server.write("250 welcome\r\n").await
            });
            client.read_until(b"\r\n").await.unwrap();
            client.write("STARTTLS\r\n").await.unwrap();
            client.read_until(b"\r\n").await.unwrap();
            client.start_tls_client(&config, NAME).await.unwrap();
            client.write("EHLO\r\n").await.unwrap();
            assert_eq!(client.read_until(b"\r\n").await.unwrap(), "250 welcome\r\n");
            serving.await.unwrap().unwrap();
        });
    }
}

#[test]
fn io49_limits_clones_and_the_close_callback_stay() {
    run(async {
        let (acceptor, config) = sides();
        let wire = Wire::default();
        let options = Rc::new(StreamOptions::default().max_buffer_size(10).max_write_buffer_size(1));
        let server = IoStream::with_options(wire.server_end(), options).unwrap();
        let client = IoStream::new(wire.client_end()).unwrap();
        let (clone, called) = (server.clone(), Rc::new(Cell::new(0)));
        server.set_close_callback(Some(Box::new({
            let called = Rc::clone(&called);
            move || called.set(called.get() + 1)
        })));
        let serving = IoLoop::current().spawn(async move { server.start_tls_server(&acceptor).await });
        client.start_tls_client(&config, NAME).await.unwrap();
        serving.await.unwrap().unwrap();
        assert_eq!(called.get(), 0);

        drop(client.write("12345678901"));
        let full = clone.read_until(b"\n").await;
        assert!(matches!(full, Err(StreamError::Closed(CloseReason::ReadBufferFull(10)))), "{full:?}");
        turns(2).await;
        assert_eq!(called.get(), 1);
    });
}

#[test]
fn io50_what_is_no_tls_is_told_from_what_is_and_gets_no_answer() {
    for hello in ["GET / HTTP/1.1\r\n\r\n", "SSH-2.0-scanner\r\n", "\0", "\x17\x03\x03"] {
        run(async {
            let (acceptor, _) = sides();
            let (stream, script) = stream();
            script.send(hello);
            assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::NotTls);
            assert!(script.is_closed());
            assert_eq!(script.received(), b"");
        });
    }
    run(async {
        let (_, config) = sides();
        let (stream, script) = stream();
        script.send("220 mail.test ready\r\n");
        assert_eq!(tls_error(stream.start_tls_client(&config, NAME).await), TlsError::NotTls);
    });
}

#[test]
fn io50_a_peer_that_just_leaves_is_a_disconnect() {
    run(async {
        let (acceptor, _) = sides();
        for sent in ["", "\x16\x03\x01"] {
            let (gone, script) = stream();
            script.send(sent);
            script.finish();
            let error = gone.start_tls_server(&acceptor).await.unwrap_err();
            assert!(error.is_disconnect(), "{error:?}");
            assert_eq!(tls_error::<()>(Err(error)), TlsError::Truncated);
        }
        let (gone, script) = stream();
        script.reset();
        assert!(gone.start_tls_server(&acceptor).await.unwrap_err().is_disconnect());
    });
}

#[test]
fn io48_what_the_peer_had_to_say_is_told_although_it_no_longer_listens() {
    run(async {
        let (acceptor, config) = sides();
        let wire = Wire::default();
        let (server, client) = wire.streams();
        assert!(poll_once(client.start_tls_client(&config, NAME)).await.is_none());
        wire.to_client().ended.set(true); // writing there is a broken pipe from now on
        wire.to_server().ended.set(false);
        let mut serving = std::pin::pin!(server.start_tls_server(&acceptor));
        for _ in 0..3 {
            assert!(poll_once(serving.as_mut()).await.is_none());
            turns(1).await;
        }
        wire.to_server().inject(b"\x15\x03\x03\x00\x02\x02\x28");
        assert_eq!(alert(&tls_error(serving.await)), 40, "handshake_failure");
    });
}

#[test]
fn io52_a_peer_that_says_nothing_is_cut_off_at_the_deadline() {
    let test = VirtualLoop::new();
    test.run(async {
        let (acceptor, config) = sides();
        let (stream, script) = stream();
        assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::HandshakeTimedOut);
        assert!(script.is_closed());
        assert_eq!(test.elapsed(), DEFAULT_HANDSHAKE_TIMEOUT);

        let (stream, script) = support::stream();
        let config = config.handshake_timeout(Duration::from_secs(1));
        assert_eq!(tls_error(stream.start_tls_client(&config, NAME).await), TlsError::HandshakeTimedOut);
        assert!(script.is_closed());
    });
    assert_eq!(test.elapsed(), DEFAULT_HANDSHAKE_TIMEOUT + Duration::from_secs(1));
}

#[test]
fn io52_a_dribbler_does_not_move_the_deadline() {
    let test = VirtualLoop::new();
    test.run(async {
        let (acceptor, config) = sides();
        let wire = Wire::default();
        let (server, client) = wire.streams();
        let mut connecting = std::pin::pin!(client.start_tls_client(&config, NAME));
        assert!(poll_once(connecting.as_mut()).await.is_none());
        let hello = wire.to_server().seen.take();

        let (stream, script) = stream();
        let dribbling = IoLoop::current().spawn(async move {
            for byte in hello {
                script.send([byte]);
                ioloop::sleep(Duration::from_secs(1)).await;
            }
        });
        assert_eq!(tls_error(stream.start_tls_server(&acceptor).await), TlsError::HandshakeTimedOut);
        dribbling.abort();
        drop(server);
    });
    assert_eq!(test.elapsed(), DEFAULT_HANDSHAKE_TIMEOUT);
}

#[test]
fn io52_dropping_the_wait_closes_the_stream_and_leaves_nothing() {
    run(async {
        let (acceptor, _) = sides();
        let (stream, script) = stream();
        assert!(poll_once(stream.start_tls_server(&acceptor)).await.is_none());
        assert!(script.is_closed() && stream.is_closed());
        assert!(!stream.is_reading());
        assert_eq!(iostream::leased_blocks(), 0);
        assert_eq!(script.received(), b"");
    });
}

#[test]
fn io52_a_write_that_waits_for_the_handshake_does_not_spin() {
    run(async {
        let (acceptor, _) = sides();
        let wire = Wire::default();
        let (server, _client) = wire.streams();
        let mut waiting = std::pin::pin!(server.start_tls_server(&acceptor));
        assert!(poll_once(waiting.as_mut()).await.is_none());
        drop(server.write("too early"));
        turns(3).await;
        let before = IoLoop::current().counters().turns;
        ioloop::sleep(Duration::from_secs(5)).await;
        assert!(IoLoop::current().counters().turns - before < 5, "it sleeps");
        assert_eq!(wire.to_client().writes.get(), 0);
    });
}

#[test]
fn io54_what_was_agreed_on_is_known_on_both_sides() {
    let authority = Authority::new();
    let issued = authority.issue(NAME);
    for (version, cipher) in [
        (TlsVersion::Tls12, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (TlsVersion::Tls13, "TLS13_AES_128_GCM_SHA256"),
    ] {
        let server = issued.server().versions([version]).ciphers([cipher]).alpn(["h2", "http/1.1"]);
        let acceptor = TlsAcceptor::new(server.build().unwrap());
        let config = authority.client().alpn(["http/1.1", "h2"]).build().unwrap();
        run(async {
            let (server, client) = handshake(&Wire::default(), &acceptor, &config, "Server.Test").await;
            let (server, client) = (server.unwrap(), client.unwrap());
            let facts = |info: &TlsInfo| (info.version(), info.cipher(), info.alpn().map(<[u8]>::to_vec));
            let (at_server, at_client) = (server.tls_info().unwrap(), client.tls_info().unwrap());
            assert_eq!(
                facts(&at_server),
                (version, cipher, Some(b"h2".to_vec())),
                "the server's order counts"
            );
            assert_eq!(facts(&at_client), facts(&at_server));
            assert_eq!(at_server.server_name(), Some(NAME));
            assert_eq!(at_client.server_name(), None);
            assert_eq!(at_server.peer_certificates().len(), 0);
            let shown: Vec<_> = at_client.peer_certificates().collect();
            assert_eq!(shown, [pem_to_der(&issued.chain)]);
            server.close();
            assert!(server.tls_info().is_none());
        });
    }
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

#[test]
fn io54_lists_of_protocols_with_nothing_in_common_end_the_handshake() {
    let authority = Authority::new();
    let acceptor = TlsAcceptor::new(authority.issue(NAME).server().alpn(["h2"]).build().unwrap());
    let config = authority.client().alpn(["smtp"]).build().unwrap();
    let (at_client, at_server) = refusal(&acceptor, &config, NAME);
    assert_eq!(at_server, TlsError::NoCommonProtocol);
    assert_eq!(alert(&at_client), 120, "no_application_protocol");

    let silent = authority.client().build().unwrap();
    run(async {
        let (server, client) = handshake(&Wire::default(), &acceptor, &silent, NAME).await;
        assert_eq!(server.unwrap().tls_info().unwrap().alpn(), None, "no list is no quarrel");
        drop(client.unwrap());
    });
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    for version in VERSIONS {
        let (acceptor, config) = sides_for(version);
        for expected in [false, true] {
            run(async {
                let (server, client) = handshake(&Wire::default(), &acceptor, &config, NAME).await;
                let (server, client) = (server.unwrap(), client.unwrap());
                assert_eq!(server.tls_info().unwrap().is_resumed(), expected);
                server.write("x").await.unwrap();
                client.read_bytes(1).await.unwrap(); // and, before it, the tickets
            });
        }
    }
}

#[test]
fn nothing_that_a_peer_sends_panics_or_hangs() {
    let (acceptor, config) = sides();
    let noise = noise(40_000);
    for start in 0..60 {
        for header in
            [&b"\x16\x03\x01\x00\x80\x01"[..], b"\x16\x03\x03\x40\x00", b"\x15\x03\x03\x00\x02", b"\x16"]
        {
            run(async {
                let (stream, script) = stream();
                script.send([header, &noise[start * 600..][..700]].concat());
                script.finish();
                let as_server = start % 2 == 0;
                let result = match as_server {
                    true => stream.start_tls_server(&acceptor).await,
                    false => stream.start_tls_client(&config, NAME).await,
                };
                drop(tls_error(result));
                assert!(script.is_closed());
            });
        }
    }
}

#[test]
fn a_handshake_that_is_changed_anywhere_fails_and_does_not_panic() {
    for at in (0..1200).step_by(7) {
        let (acceptor, config) = sides();
        run(async {
            let wire = Wire::default();
            let (server, client) = wire.streams();
            let mut connecting = std::pin::pin!(client.start_tls_client(&config, NAME));
            assert!(poll_once(connecting.as_mut()).await.is_none());
            let hello = wire.to_server().seen.take();
            let (victim, script) = stream();
            let mut serving = std::pin::pin!(victim.start_tls_server(&acceptor));
            script.send(&hello);
            assert!(poll_once(serving.as_mut()).await.is_none());
            let mut answer = script.received();
            if let Some(byte) = answer.get_mut(at) {
                *byte ^= 1 << (at % 8);
                wire.to_client().inject(&answer);
                wire.to_client().end();
                drop(tls_error(connecting.await));
            }
            drop(server);
        });
    }
}
