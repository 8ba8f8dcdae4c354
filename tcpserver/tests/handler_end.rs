//! How a connection ends when its handler does: TS8 and TS9.

mod support;

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::future::{Future, pending};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::panic_any;
use std::rc::Rc;
use std::time::Duration;

use ioloop::IoLoop;
use ioloop::testing::VirtualLoop;
use iostream::testing::scripted;
use iostream::{CloseReason, IoStream, StreamError};
use support::{Log, connect, current_loop, loopback, read_to_end, run_until, talk, with_client};
use tcpserver::{ConnectionContext, HandleStream, PeerAddr, TcpServer};
use tracing::Level;

/// Serves `handler` at a loopback address.
fn serve<H: HandleStream>(handler: H) -> (IoLoop, TcpServer<H>, SocketAddr) {
    let io_loop = current_loop();
    let server = TcpServer::new(handler);
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    (io_loop, server, address)
}

/// Serves a connection by `last`, then another by an echo, and gives what the first client read and what was logged as
/// an error. Fails if the second client is not answered.
fn ends_with<F, Fut>(last: F) -> (Option<Vec<u8>>, Vec<String>)
where
    F: Fn(IoStream) -> Fut + 'static,
    Fut: Future<Output = Result<(), Box<dyn Error>>> + 'static,
{
    let (log, _guard) = Log::begin();
    let last = Rc::new(last);
    let (io_loop, server, address) = serve(move |stream: IoStream, context: ConnectionContext| {
        let last = Rc::clone(&last);
        async move {
            if context.id() == 1 {
                return last(stream).await;
            }
            let line = stream.read_until(b"\n").await?;
            stream.write(line).await?;
            Ok(())
        }
    });
    let heard = with_client(&io_loop, move || {
        let (mut first, mut second) = (connect(address), connect(address));
        let heard = read_to_end(&mut first);
        assert_eq!(talk(&mut second, "unharmed\n"), "unharmed\n");
        heard
    });
    run_until(&io_loop, || server.open_connections() == 0);
    assert_eq!(io_loop.counters().panics, 0, "no panic got as far as the loop");
    assert_eq!(io_loop.counters().tasks, 1, "only the listener's task is left");
    (heard, log.at(Level::ERROR))
}

#[test]
fn ts8_an_error_is_logged_once_and_costs_its_own_connection() {
    let (heard, errors) = ends_with(async |_| Err("it went wrong".into()));
    assert_eq!(heard.as_deref(), Some(&b""[..]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("it went wrong") && errors[0].contains("127.0.0.1:"), "{errors:?}");
}

#[test]
fn ts8_a_panic_is_logged_once_and_costs_its_own_connection() {
    let (heard, errors) = ends_with(async |stream| {
        stream.write("last words").await?;
        panic!("it went very wrong")
    });
    assert_eq!(heard.as_deref(), Some(&b"last words"[..]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("it went very wrong") && errors[0].contains("127.0.0.1:"), "{errors:?}");
}

#[test]
fn ts8_a_panic_before_the_first_await_costs_its_own_connection() {
    let (log, _guard) = Log::begin();
    let (io_loop, server, address) = serve(|_: IoStream, context: ConnectionContext| {
        assert!(context.id() > 1, "the first is unlucky");
        pending::<()>()
    });
    let mut first = connect(address);
    let _second = connect(address);
    run_until(&io_loop, || server.accepted_connections() == 2 && server.open_connections() == 1);
    assert_eq!(first.read(&mut [0]).expect("a clean end"), 0);
    assert_eq!(log.at(Level::ERROR).len(), 1);
}

/// Panics when it is dropped.
struct Vicious;

impl Drop for Vicious {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("and again");
        }
    }
}

#[test]
fn ts8_a_panic_whose_payload_panics_costs_no_more() {
    let (_, errors) = ends_with(async |_| panic_any(Vicious));
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words for it")
    }
}

impl Error for Unspeakable {}

#[test]
fn ts8_an_error_that_panics_when_it_is_put_into_words_costs_its_own_connection() {
    let (heard, errors) = ends_with(async |_| Err(Unspeakable.into()));
    assert_eq!(heard.as_deref(), Some(&b""[..]));
    assert!(errors.len() == 1 && errors[0].contains("no words for it"), "{errors:?}");
}

/// A protocol's own error.
#[derive(Debug)]
struct Failed(StreamError);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the protocol failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn ts8_a_peer_that_went_away_is_not_worth_a_line_however_the_error_is_wrapped() {
    let (log, _guard) = Log::begin();
    type Wrap = fn(StreamError) -> Box<dyn Error>;
    let wraps: [Wrap; 4] = [
        |error| error.into(),
        |error| io::Error::from(error).into(),
        |error| Failed(error).into(),
        |error| io::Error::other(Failed(error)).into(),
    ];
    let (io_loop, server, address) = serve(move |stream: IoStream, context: ConnectionContext| {
        let wrap = wraps[context.id() as usize - 1];
        async move { stream.read_until(b"\n").await.map(drop).map_err(wrap) }
    });
    with_client(&io_loop, move || {
        for _ in wraps {
            let mut client = connect(address);
            client.write_all(b"half a line").expect("it listens");
            client.shutdown(Shutdown::Write).expect("a connection");
            read_to_end(&mut client);
        }
    });
    run_until(&io_loop, || server.open_connections() == 0);
    assert_eq!(server.accepted_connections(), 4);
    assert_eq!(log.at(Level::ERROR), [""; 0]);
}

#[test]
fn ts8_a_handler_whose_stream_the_server_has_closed_is_not_worth_a_line() {
    let (log, _guard) = Log::begin();
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(async |stream: IoStream, context: ConnectionContext| {
        match context.id() {
            1 => stream.read_until(b"\n").await?,
            2 => stream.read_until(b"\n").await.map_err(io::Error::from)?,
            _ => {
                stream.shutdown_write().await?;
                stream.write("a mistake of the handler's own").await?;
                return Ok(());
            }
        };
        Ok::<_, Box<dyn Error>>(())
    });
    let connect = || {
        let (transport, script) = scripted();
        server.add_stream(IoStream::new(transport).expect("a stream"), PeerAddr::Unix(None));
        script
    };
    let _clients = [connect(), connect()];
    test.run_until_stalled();
    let report = test.run(server.drain(Duration::from_secs(1)));
    assert_eq!((report.finished, report.aborted), (0, 2));
    test.run_until_stalled();
    assert_eq!(log.at(Level::ERROR), [""; 0]);
    assert_eq!(server.metrics().handler_errors, 0);

    let _client = connect();
    test.run_until_stalled();
    assert_eq!(log.at(Level::ERROR).len(), 1, "{:?}", log.at(Level::ERROR));
    assert_eq!(server.metrics().handler_errors, 1);
}

#[test]
fn ts9_the_stream_is_closed_when_its_handler_returns_fails_or_panics_though_somebody_holds_a_clone() {
    let kept: Rc<RefCell<Vec<IoStream>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let (io_loop, server, address) = serve(move |stream: IoStream, context: ConnectionContext| {
        keep.borrow_mut().push(stream);
        async move {
            match context.id() {
                1 => Ok(()),
                2 => Err("it went wrong"),
                _ => panic!("it went very wrong"),
            }
        }
    });
    let clients = [(); 3].map(|()| connect(address));
    run_until(&io_loop, || server.accepted_connections() == 3 && server.open_connections() == 0);
    for (mut client, kept) in clients.into_iter().zip(kept.borrow().iter()) {
        assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
        assert!(matches!(kept.close_reason(), Some(CloseReason::Local)));
    }
}

#[test]
fn ts9_a_task_that_reads_on_from_a_clone_is_told_that_the_stream_is_closed() {
    let told: Rc<RefCell<Option<StreamError>>> = Rc::default();
    let tell = Rc::clone(&told);
    let (io_loop, _server, address) = serve(move |stream: IoStream, _| {
        let tell = Rc::clone(&tell);
        async move {
            let io_loop = stream.io_loop();
            io_loop.spawn_detached(async move {
                tell.replace(stream.read_until(b"\n").await.err());
            });
            ioloop::yield_now().await;
        }
    });
    let _client = connect(address);
    run_until(&io_loop, || told.borrow().is_some());
    assert!(matches!(*told.borrow(), Some(StreamError::Closed(CloseReason::Local))));
}

#[test]
fn ts9_what_a_handler_wrote_without_waiting_is_sent_before_the_stream_closes() {
    const SIZE: usize = 8 * 1024 * 1024;
    let (io_loop, server, address) = serve(|stream: IoStream, context: ConnectionContext| async move {
        drop(stream.write(vec![b'x'; SIZE]));
        if context.id() == 1 { Ok(()) } else { Err("an error changes nothing about that") }
    });
    let heard = with_client(&io_loop, move || [(); 2].map(|()| read_to_end(&mut connect(address))));
    for heard in heard {
        assert_eq!(heard.expect("a clean end").len(), SIZE);
    }
    run_until(&io_loop, || server.open_connections() == 0);
}

#[test]
fn ts9_an_answer_to_a_peer_that_is_still_talking_is_not_overtaken_by_a_reset() {
    let (io_loop, _server, address) = serve(|stream: IoStream, _| async move {
        let line = stream.read_until(b"\n").await?;
        stream.write(line).await?; // in the kernel, where a reset would throw it away
        Ok::<(), StreamError>(())
    });
    let heard = with_client(&io_loop, move || {
        let mut client = connect(address);
        client.write_all(b"answer this\nand not that").expect("it reads");
        // More than the kernel's buffers hold: the server must go on reading, or this never returns.
        client.write_all(&vec![b'x'; 8 * 1024 * 1024]).expect("it reads to the end");
        client.shutdown(Shutdown::Write).expect("a connection");
        read_to_end(&mut client)
    });
    assert_eq!(heard.as_deref(), Some(&b"answer this\n"[..]));
}

/// A client to whom so many bytes were said, which it has not read, and that has sent more than was read of it. The handler has ended; it has
/// waited for what it read, or that was there already.
fn told_while_it_sends_on(
    bytes: usize,
    has_waited: bool,
) -> (IoLoop, TcpServer<impl HandleStream>, TcpStream) {
    let (asked, may_answer) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (is_asked, go_on) = (Rc::clone(&asked), Rc::clone(&may_answer));
    let (io_loop, server, address) = serve(move |stream: IoStream, _| {
        let (asked, may_answer) = (Rc::clone(&asked), Rc::clone(&may_answer));
        async move {
            stream.read_bytes(4).await?;
            asked.set(true);
            while !may_answer.get() {
                ioloop::yield_now().await;
            }
            stream.write(vec![b'x'; bytes]).await // in the kernel, and not with the client
        }
    });
    let mut client = connect(address);
    let turns = || (0..3).for_each(|_| io_loop.run_sync(ioloop::yield_now()).expect("a turn"));
    if has_waited {
        run_until(&io_loop, || server.accepted_connections() == 1);
        turns(); // it waits for input, and so hears of all that comes
    }
    client.write_all(b"this").expect("it listens");
    run_until(&io_loop, || is_asked.get());
    client.write_all(b"and that").expect("it listens");
    turns();
    go_on.set(true);
    run_until(&io_loop, || server.metrics().bytes_sent == bytes as u64);
    (io_loop, server, client)
}

#[test]
fn ts9_what_lies_unread_in_the_kernel_cuts_no_answer() {
    for (size, has_waited) in [(1, true), (300_000, true), (300_000, false)] {
        let (io_loop, server, mut client) = told_while_it_sends_on(size, has_waited);
        assert_eq!(server.open_connections(), 1, "it is heard out");
        let heard = with_client(&io_loop, move || {
            let mut answer = vec![0; size];
            client.read_exact(&mut answer)
        });
        heard.expect("nothing was cut");
        run_until(&io_loop, || server.open_connections() == 0);
    }
}

#[test]
fn ts9_a_peer_is_heard_out_also_where_its_handler_has_used_up_its_share_of_the_turn() {
    /// What a stream reads in one turn of its loop.
    const SHARE: usize = 256 * 1024;
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(async |stream: IoStream, _| -> Result<(), StreamError> {
        stream.write("that will do").await?; // a reset would cost the peer this
        let turn = stream.io_loop().counters().turns;
        stream.read_bytes(SHARE).await?;
        assert_eq!(
            (stream.io_loop().counters().turns, stream.buffered()),
            (turn, 0),
            "the share, to the byte"
        );
        Ok(())
    });
    let (transport, script) = scripted();
    script.send(vec![b'x'; SHARE]);
    script.send("and that");
    server.add_stream(IoStream::new(transport).expect("a stream"), PeerAddr::Unix(None));
    test.run_until_stalled();
    assert!(!script.is_closed(), "it may still be talking");
    script.finish();
    test.run_until_stalled();
    assert_eq!((script.is_closed(), script.received()), (true, b"that will do".to_vec()));
    assert_eq!(server.metrics().bytes_received, SHARE as u64 + 8);
}

#[test]
fn ts9_a_peer_that_neither_reads_nor_ends_is_let_go_when_the_linger_is_over() {
    let test = VirtualLoop::new();
    test.make_current();
    let server = TcpServer::new(async |stream: IoStream, _| drop(stream.write(vec![b'x'; 64 * 1024 * 1024])))
        .linger(Duration::from_secs(60));
    let (listener, address) = loopback();
    server.add_socket(listener).expect("a listener");
    let mut client = connect(address);
    test.advance(Duration::from_secs(59));
    assert_eq!((server.accepted_connections(), server.open_connections()), (1, 1));
    test.advance(Duration::from_secs(1));
    assert_eq!(server.open_connections(), 0);
    assert_eq!(read_to_end(&mut client), None, "a reset: the kernel does not keep the rest for it");
}

#[test]
fn ts9_an_idle_connection_whose_handler_has_ended_costs_no_timer() {
    let done = Rc::new(Cell::new(false));
    let (io_loop, server, address) = serve(|stream: IoStream, _| async move {
        let line = stream.read_until(b"\n").await?;
        stream.write(line).await
    });
    let before = io_loop.counters().timers_inserted;
    let mut client = connect(address);
    client.write_all(b"hello\n").expect("it listens");
    run_until(&io_loop, || {
        done.replace(server.accepted_connections() == 1) && server.open_connections() == 0
    });
    assert_eq!(io_loop.counters().timers_inserted, before);
    assert_eq!(read_to_end(&mut client).as_deref(), Some(&b"hello\n"[..]));
}
