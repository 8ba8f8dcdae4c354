//! Foreign descriptors as futures.
#![cfg(unix)]

mod support;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use ioloop::{AsyncSource, Fd, Interest, IoLoop, Ready, RunError, TimedOut};
use support::real_loop;

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn read_some(source: &Fd<UnixStream>) -> io::Result<String> {
    let mut bytes = [0; 64];
    let n = (&source.0).read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
}

#[test]
fn a_udp_echo_is_three_lines() {
    let io_loop = real_loop();
    let (echoed, counters) = io_loop
        .run_sync(async {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            let address = socket.local_addr().unwrap();
            let echo = IoLoop::current().spawn(async move {
                let socket = AsyncSource::new(Fd(socket))?;
                let mut packet = [0; 100];
                let (n, from) = socket.io(Interest::READ, |socket| socket.recv_from(&mut packet)).await?;
                socket.io(Interest::WRITE, |socket| socket.send_to(&packet[..n], from)).await
            });
            ioloop::yield_now().await; // now it waits
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(b"hello", address).unwrap();
            let echoed = echo.await.unwrap().unwrap();
            assert_eq!(client.recv(&mut [0; 100]).unwrap(), 5);
            (echoed, IoLoop::current().counters())
        })
        .unwrap();
    assert_eq!((echoed, counters.registrations, counters.reregistrations), (5, 1, 0));
}

#[test]
fn readiness_stays_until_an_operation_would_block() {
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            let (ours, mut theirs) = pair();
            let source = AsyncSource::new(Fd(ours)).unwrap();
            theirs.write_all(b"one").unwrap();
            assert!(source.ready(Interest::READ).await.contains(Ready::READABLE));
            assert!(source.ready(Interest::READ).await.contains(Ready::READABLE), "asked twice");
            assert_eq!(source.try_io(Interest::READ, read_some).unwrap(), "one");
            assert!(
                source.ready(Interest::READ).await.contains(Ready::READABLE),
                "nobody has seen it empty yet"
            );
            let empty = source.try_io(Interest::READ, read_some).unwrap_err();
            assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
            let waited = ioloop::timeout(Duration::ZERO, source.ready(Interest::READ)).await;
            assert_eq!(waited, Err(TimedOut));
            theirs.write_all(b"two").unwrap();
            source.ready(Interest::READ).await;
            assert_eq!(source.try_io(Interest::READ, read_some).unwrap(), "two");
            assert!(
                source.ready(Interest::WRITE).await.contains(Ready::WRITABLE),
                "the other direction was left alone"
            );
        })
        .unwrap();
}

#[test]
fn a_wait_that_was_dropped_has_lost_nothing() {
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            let (ours, mut theirs) = pair();
            let source = AsyncSource::new(Fd(ours)).unwrap();
            let given_up = ioloop::timeout(Duration::ZERO, source.io(Interest::READ, read_some)).await;
            assert_eq!(given_up.map(|_| ()), Err(TimedOut));
            theirs.write_all(b"late").unwrap();
            assert_eq!(source.io(Interest::READ, read_some).await.unwrap(), "late");
        })
        .unwrap();
}

#[test]
fn an_operation_that_waits_beside_a_closed_side_is_not_tried_for_ever() {
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            let (ours, theirs) = pair();
            let source = Rc::new(AsyncSource::new(Fd(ours)).unwrap());
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            source.ready(Interest::READ).await; // closed, and that stays
            let tries = Rc::new(Cell::new(0));
            let (tried, waiting) = (Rc::clone(&tries), Rc::clone(&source));
            let stubborn = IoLoop::current().spawn(async move {
                let would_block = || io::Error::from(io::ErrorKind::WouldBlock);
                let operation = |_: &Fd<UnixStream>| {
                    tried.set(tried.get() + 1);
                    Err::<(), _>(would_block())
                };
                waiting.io(Interest::READ, operation).await
            });
            for _ in 0..10 {
                ioloop::yield_now().await;
            }
            assert_eq!(tries.get(), 1);
            stubborn.abort();
        })
        .unwrap();
}

#[test]
fn one_task_reads_while_another_writes() {
    IoLoop::new()
        .unwrap()
        .run_sync(async {
            let (ours, theirs) = pair();
            theirs.set_nonblocking(true).unwrap();
            let (ours, theirs) = (AsyncSource::new(Fd(ours)).unwrap(), AsyncSource::new(Fd(theirs)).unwrap());
            let ours = Rc::new(ours);
            let reader = Rc::clone(&ours);
            let read = IoLoop::current().spawn(async move { reader.io(Interest::READ, read_some).await });
            let block = vec![7; 1 << 16];
            let writer = Rc::clone(&ours);
            let wrote = IoLoop::current().spawn(async move {
                let mut left = 1 << 20; // more than the socket holds
                while left > 0 {
                    left -= writer.io(Interest::WRITE, |socket| (&socket.0).write(&block)).await?.min(left);
                }
                Ok::<(), io::Error>(())
            });
            let mut drained = 0;
            while drained < 1 << 20 {
                let mut bytes = vec![0; 1 << 16];
                drained += theirs.io(Interest::READ, |socket| (&socket.0).read(&mut bytes)).await.unwrap();
            }
            wrote.await.unwrap().unwrap();
            theirs.io(Interest::WRITE, |socket| (&socket.0).write(b"done")).await.unwrap();
            assert_eq!(read.await.unwrap().unwrap(), "done");
        })
        .unwrap();
}

#[test]
fn a_source_that_was_given_back_or_dropped_is_watched_no_more_though_a_copy_lives_on() {
    let io_loop = real_loop();
    io_loop
        .run_sync(async {
            let (ours, mut theirs) = pair();
            let copy = ours.try_clone().unwrap();
            let source = AsyncSource::new(Fd(ours)).unwrap();
            let given_back = source.into_inner().unwrap();
            drop(AsyncSource::new(given_back).unwrap()); // it can be registered again
            let before = IoLoop::current().counters().events;
            theirs.write_all(b"x").unwrap();
            ioloop::yield_now().await;
            ioloop::yield_now().await;
            assert_eq!(IoLoop::current().counters().events, before, "no event for the copy");
            drop(copy);
        })
        .unwrap();
    assert_eq!(io_loop.counters().sources, 0);
}

#[test]
fn an_operation_that_would_wait_for_a_loop_that_has_closed_fails() {
    let (ours, mut theirs) = pair();
    let source = real_loop().run_sync(async { AsyncSource::new(Fd(ours)).unwrap() }).unwrap();
    let read = || source.io(Interest::READ, read_some);
    theirs.write_all(b"x").unwrap();
    let io_loop = real_loop();
    assert_eq!(io_loop.run_sync(read()).unwrap().unwrap(), "x", "it need not wait");
    let error = io_loop.run_sync(read()).unwrap().unwrap_err();
    assert!(matches!(error.get_ref().and_then(|inner| inner.downcast_ref()), Some(RunError::Closed)));
}

#[test]
fn what_cannot_be_polled_and_a_closed_loop_are_errors() {
    let io_loop = real_loop();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let error = AsyncSource::on(&io_loop, Fd(file)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "what epoll says of a regular file");
    io_loop.close();
    assert!(AsyncSource::on(&io_loop, Fd(pair().0)).is_err());
}

#[test]
fn a_handler_owns_any_descriptor_too() {
    let io_loop = real_loop();
    let (ours, mut theirs) = pair();
    theirs.write_all(b"for the handler").unwrap();
    let stop = io_loop.clone();
    io_loop
        .add_handler(Fd(ours), Interest::READ, move |source, _| {
            assert_eq!(read_some(source).unwrap(), "for the handler");
            stop.stop();
        })
        .unwrap();
    io_loop.start().unwrap();
    assert_eq!(io_loop.counters().panics, 0);
}
