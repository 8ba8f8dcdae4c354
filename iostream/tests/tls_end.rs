//! How a TLS stream ends: with a word, without one, in the middle of something.

#[path = "support/tls_peer.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod peer;
mod support;
#[path = "support/tls.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod wire;

use std::io::ErrorKind;
use std::time::Duration;

use ioloop::IoLoop;
use iostream::tls::{TlsError, TlsVersion};
use iostream::{AsyncIo, CloseReason, IoStream, StreamError};
use peer::Peer;
use support::{assert_end_of_stream, noise, poll_once, run, turns};
use wire::{VERSIONS, Wire, connected, tls_error};

#[test]
fn io53_closing_says_so_and_is_a_clean_end_to_the_peer() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            drop(stream.write("last words"));
            stream.close();
            assert_eq!(peer.receive(), b"last words");
            assert!(peer.has_heard_the_end());

            let (server, client) = connected(&Wire::default(), version).await;
            drop(server.write("last words"));
            drop(server);
            assert_eq!(client.read_until_close().await.unwrap(), "last words");
            assert_end_of_stream(client.read_bytes(1).await);
            assert!(!client.is_closed(), "the end of the peer's side does not close ours");
        });
    }
}

#[test]
fn io53_an_end_without_a_word_is_not_the_end() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.say(b"half a messa");
            peer.send();
            peer.script.finish();
            assert_eq!(stream.read_bytes(4).await.unwrap(), "half");
            let error = stream.read_until_close().await.unwrap_err();
            assert!(error.is_disconnect(), "nothing that a server need log");
            assert_eq!(tls_error::<()>(Err(error)), TlsError::Truncated);
            assert_eq!(stream.read_bytes(8).await.unwrap(), " a messa", "what came stays readable");
            assert!(!stream.is_end_of_stream() && !stream.has_input());
            for _ in 0..2 {
                assert_eq!(tls_error(stream.read_partial(1).await), TlsError::Truncated);
            }
            stream.close();
            assert!(stream.read_until_close().await.is_err(), "nor does closing make it one");
        });
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.say(b"never complete");
            let record = peer.ciphertext();
            peer.script.send(&record[..record.len() - 1]);
            peer.script.finish();
            assert_eq!(tls_error(stream.read_until_close().await), TlsError::Truncated);
        });
    }
}

#[test]
fn io53_who_is_cut_off_can_still_be_answered_and_is_watched() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.say(b"whole\nhalf a li");
            peer.send();
            peer.script.finish();
            assert_eq!(stream.read_until(b"\n").await.unwrap(), "whole\n");
            assert_eq!(tls_error(stream.read_until(b"\n").await), TlsError::Truncated);
            stream.write("answer").await.unwrap();
            assert_eq!(peer.receive(), b"answer");
            assert!(poll_once(stream.closed()).await.is_none(), "as with an end that was said");
            stream.shutdown(Duration::from_secs(1)).await.unwrap();
            drop(peer.receive());
            assert!(peer.has_heard_the_end() && peer.script.is_shut());
        });
        run(async {
            let (stream, peer) = Peer::connected(version).await;
            peer.script.finish();
            assert_eq!(tls_error(stream.read_bytes(1).await), TlsError::Truncated);
            peer.script.reset();
            stream.closed().await;
        });
    }
}

/// Everything up to the end, by calls of one kind or another: what came, and whether that was all.
async fn read_to_the_end(stream: &IoStream, way: usize) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    match way {
        0 => match stream.read_until_close().await {
            Ok(bytes) => (bytes.to_vec(), true),
            Err(_) => (stream.take_buffered(usize::MAX).to_vec(), false),
        },
        1 => loop {
            match stream.read_partial(4).await {
                Ok(bytes) => all.extend(bytes),
                Err(_) => return (all, stream.is_end_of_stream()),
            }
        },
        2 => loop {
            match stream.fill().await {
                Ok(0) => return (all, true),
                Ok(_) => all.extend(stream.take_buffered(usize::MAX)),
                Err(_) => return (all, false),
            }
        },
        3 => match futures_lite::AsyncReadExt::read_to_end(&mut AsyncIo::new(stream.clone()), &mut all).await
        {
            Ok(_) => (all, true),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                (all, false)
            }
        },
        _ => {
            let copied = tokio::io::copy_buf(&mut AsyncIo::new(stream.clone()), &mut all).await;
            (all, copied.is_ok())
        }
    }
}

#[test]
fn io53_wherever_it_is_cut_only_what_ends_with_a_word_is_all_however_it_is_read() {
    for version in VERSIONS {
        let mut at = 0;
        loop {
            let was_whole = run(async {
                let (stream, mut peer) = Peer::connected(version).await;
                peer.say(b"two ");
                let mut said = peer.ciphertext();
                let first = said.len();
                peer.say(b"records");
                said.extend(peer.ciphertext());
                let both = said.len();
                peer.tls.send_close_notify();
                said.extend(peer.ciphertext());
                let waits = at % 2 == 0 && poll_once(stream.fill()).await.is_none();
                match at % 3 {
                    0 => said[..at].iter().for_each(|byte| peer.script.send([*byte])),
                    _ => peer.script.send(&said[..at]),
                }
                peer.script.finish();
                let (read, was_all) = read_to_the_end(&stream, at % 5).await;
                let whole = if at < first {
                    0
                } else if at < both {
                    4
                } else {
                    11
                };
                assert_eq!(read, b"two records"[..whole], "{at} of {}", said.len());
                assert_eq!(was_all, at == said.len(), "{at} of {}", said.len());
                assert!(at % 2 == 1 || waits);
                drop(stream.write("an answer"));
                stream.shutdown_write().await.unwrap();
                if !was_all {
                    assert_eq!(peer.receive(), b"an answer");
                }
                at == said.len()
            });
            if was_whole {
                break;
            }
            at += 1;
        }
    }
}

#[test]
fn io53_the_end_of_one_side_leaves_the_other_open() {
    for version in VERSIONS {
        run(async {
            let (server, client) = connected(&Wire::default(), version).await;
            client.write("question").await.unwrap();
            client.shutdown_write().await.unwrap();
            assert_eq!(server.read_until_close().await.unwrap(), "question");
            server.write("answer").await.unwrap();
            server.shutdown(Duration::from_secs(1)).await.unwrap();
            assert_eq!(client.read_until_close().await.unwrap(), "answer");
        });
    }
}

#[test]
fn io53_what_comes_behind_the_end_is_not_read() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.say(b"all");
        peer.tls.send_close_notify();
        let mut bytes = peer.ciphertext();
        bytes.extend(noise(5000));
        peer.script.send(bytes);
        assert_eq!(stream.read_until_close().await.unwrap(), "all");
        assert_end_of_stream(stream.read_bytes(1).await);
        stream.write("still writing").await.unwrap();
        assert_eq!(peer.receive(), b"still writing");
    });
}

#[test]
fn io53_a_stream_that_closes_with_bytes_unsent_does_not_call_it_an_end() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.script.set_room(Some(1000));
            drop(stream.write(noise(100_000)));
            turns(2).await;
            peer.script.set_room(Some(1000));
            stream.close();
            drop(peer.receive());
            assert!(!peer.has_heard_the_end(), "or the peer would take a part for the whole");
        });
    }
}

#[test]
fn io53_nor_does_one_that_closes_with_more_than_its_share_of_a_turn() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        drop(stream.write(noise(3_000_000)));
        stream.close();
        assert!(peer.receive().len() < 3_000_000 && !peer.has_heard_the_end());
    });
}

#[test]
fn nothing_is_sent_behind_the_end() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        stream.shutdown_write().await.unwrap();
        drop(peer.receive());
        let writes = peer.script.calls().writes;
        peer.say(b"damaged");
        let mut bytes = peer.ciphertext();
        *bytes.last_mut().unwrap() ^= 1; // which would be answered with an alert
        peer.script.send(bytes);
        assert!(matches!(tls_error(stream.read_bytes(1).await), TlsError::Protocol(_)));
        assert_eq!(peer.script.calls().writes, writes);
    });
}

#[test]
fn io53_the_end_goes_out_when_there_is_room_for_it() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.script.set_room(Some(0));
        let mut shutting = std::pin::pin!(stream.shutdown_write());
        assert!(poll_once(shutting.as_mut()).await.is_none());
        assert!(!peer.script.is_shut());
        peer.script.set_room(Some(5));
        turns(2).await;
        assert!(poll_once(shutting.as_mut()).await.is_none());
        assert!(!peer.script.is_shut());
        assert!(poll_once(stream.shutdown_write()).await.is_none(), "whoever asks again waits too");
        peer.script.set_room(None);
        shutting.await.unwrap();
        stream.shutdown_write().await.unwrap();
        drop(peer.receive());
        assert!(peer.has_heard_the_end() && peer.script.is_shut());
    });
}

#[test]
fn io53_the_end_goes_out_although_nobody_waits_for_it_any_more() {
    run(async {
        let (stream, mut peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.script.set_room(Some(0));
        assert!(poll_once(stream.shutdown_write()).await.is_none());
        peer.script.set_room(None);
        turns(2).await;
        drop(peer.receive());
        assert!(peer.has_heard_the_end() && peer.script.is_shut());
    });
}

#[test]
fn io53_a_stream_that_is_dropped_when_its_end_has_left_was_not_cut_off() {
    for version in VERSIONS {
        run(async {
            let (server, client) = connected(&Wire::cut(usize::MAX, 10), version).await;
            let sending = IoLoop::current().spawn(async move {
                server.write("all there is").await.unwrap();
                server.shutdown_write().await.unwrap();
            });
            assert_eq!(client.read_until_close().await.unwrap(), "all there is");
            assert_end_of_stream(client.read_bytes(1).await);
            sending.await.unwrap();
        });
    }
}

#[test]
fn io53_the_end_that_cannot_be_told_any_more_is_an_error() {
    run(async {
        let (stream, peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.script.set_room(Some(0));
        let mut shutting = std::pin::pin!(stream.shutdown_write());
        assert!(poll_once(shutting.as_mut()).await.is_none());
        peer.script.reset();
        let result = shutting.await;
        assert!(matches!(&result, Err(error) if error.is_disconnect()), "{result:?}");
    });
}

#[test]
fn a_damaged_record_closes_the_stream_and_the_peer_is_told() {
    for version in VERSIONS {
        run(async {
            let (stream, mut peer) = Peer::connected(version).await;
            peer.say(b"intact");
            peer.say(b"damaged");
            let mut bytes = peer.ciphertext();
            *bytes.last_mut().unwrap() ^= 1;
            peer.script.send(bytes);
            assert_eq!(stream.read_bytes(6).await.unwrap(), "intact");
            assert!(matches!(tls_error(stream.read_bytes(1).await), TlsError::Protocol(_)));
            assert!(stream.is_closed() && peer.script.is_closed());
            let alert = peer.script.received();
            assert_eq!(alert.first(), Some(if version == TlsVersion::Tls13 { &23 } else { &21 }));
            assert!(matches!(stream.write("x").await, Err(StreamError::Closed(CloseReason::Tls(_)))));
        });
    }
}

#[test]
fn a_reset_is_a_reset() {
    run(async {
        let (stream, peer) = Peer::connected(TlsVersion::Tls13).await;
        peer.script.reset();
        support::assert_failed_with(stream.read_bytes(1).await, std::io::ErrorKind::ConnectionReset);
    });
}
