//! Handlers on real sockets: what they are told, what ends them, and what happens to the source they own.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::rc::Rc;

use ioloop::{Fd, HandlerId, Interest, IoLoop, Ready, UpdateError, yield_now};
use mio::event::Source;
use mio::net::UnixStream;
use mio::{Registry, Token};
use support::real_loop;

/// Runs `n` turns, and the one that ends the run. No poll of them sleeps, and what a Unix socket was sent is there
/// for the first.
fn turns(io_loop: &IoLoop, n: usize) {
    let run = io_loop.run_sync(async {
        for _ in 0..n {
            yield_now().await;
        }
    });
    run.expect("the loop runs");
}

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a pair of sockets")
}

/// A pair whose first end has a byte to read.
fn readable() -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = pair();
    theirs.write_all(b"x").expect("room for a byte");
    (ours, theirs)
}

fn drain(socket: &mut UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut total = 0;
    while let Ok(n @ 1..) = socket.read(&mut bytes) {
        total += n;
    }
    total
}

/// Whether the other end of `socket` has been closed.
fn is_closed_by_peer(socket: &mut UnixStream) -> bool {
    match socket.read(&mut [0]) {
        Ok(n) => n == 0,
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset, // it had left data unread
    }
}

/// A socket that two handlers can be given.
struct Shared(Rc<RefCell<UnixStream>>);

impl Source for Shared {
    fn register(&mut self, registry: &Registry, token: Token, interests: mio::Interest) -> io::Result<()> {
        self.0.borrow_mut().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: mio::Interest) -> io::Result<()> {
        self.0.borrow_mut().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.0.borrow_mut().deregister(registry)
    }
}

#[test]
fn il2_a_handler_is_called_with_the_source_that_was_registered_and_gives_it_back_open() {
    let io_loop = real_loop();
    let (ours, mut theirs) = readable();
    let address = std::os::fd::AsRawFd::as_raw_fd(&ours);
    let seen = Rc::new(Cell::new(None));
    let note = Rc::clone(&seen);
    let id = io_loop
        .add_handler(ours, Interest::READ, move |socket, _| {
            note.set(Some((std::os::fd::AsRawFd::as_raw_fd(socket), drain(socket))));
        })
        .unwrap();
    turns(&io_loop, 1);
    assert_eq!(seen.get(), Some((address, 1)));
    let mut ours = io_loop.remove_handler(id).expect("the source comes back");
    ours.write_all(b"still open").unwrap();
    assert_eq!(drain(&mut theirs), 10);
}

#[test]
fn il2_a_second_handler_for_the_same_descriptor_is_refused_and_leaves_nothing_behind() {
    let io_loop = real_loop();
    let (ours, _theirs) = pair();
    let ours = Rc::new(RefCell::new(ours));
    io_loop.add_handler(Shared(Rc::clone(&ours)), Interest::READ, |_, _| {}).unwrap();
    let second = io_loop.add_handler(Shared(Rc::clone(&ours)), Interest::WRITE, |_, _| {});
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(Rc::strong_count(&ours), 2, "the refused one was dropped");
    assert_eq!(io_loop.counters().sources, 1);
    assert_eq!(io_loop.counters().registrations, 1);
}

#[test]
fn a_handler_that_leaves_data_unread_hears_nothing_more_until_update_handler_reports_it_anew() {
    let io_loop = real_loop();
    let (ours, _theirs) = readable();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let id = io_loop.add_handler(ours, Interest::READ, move |_, _| counted.set(counted.get() + 1)).unwrap();
    turns(&io_loop, 10);
    assert_eq!(calls.get(), 1, "edge-triggered: once, though the byte is still there");
    io_loop.update_handler(id, Interest::READ).unwrap();
    turns(&io_loop, 10);
    assert_eq!(calls.get(), 2, "reported anew, once");
    assert_eq!(io_loop.counters().reregistrations, 1);
}

#[test]
fn new_data_is_reported_even_if_the_old_was_left_unread() {
    let io_loop = real_loop();
    let (ours, mut theirs) = readable();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    io_loop.add_handler(ours, Interest::READ, move |_, _| counted.set(counted.get() + 1)).unwrap();
    turns(&io_loop, 2);
    theirs.write_all(b"more").unwrap();
    turns(&io_loop, 2);
    assert_eq!(calls.get(), 2);
}

#[test]
fn il3_updating_a_handler_that_is_gone_or_of_another_loop_is_an_error() {
    let io_loop = real_loop();
    let other = real_loop();
    let (ours, _theirs) = pair();
    let id = io_loop.add_handler(ours, Interest::READ, |_, _| {}).unwrap();
    let (same_slot, _peer) = pair();
    other.add_handler(same_slot, Interest::READ, |_, _| {}).unwrap();
    assert!(matches!(other.update_handler(id, Interest::WRITE), Err(UpdateError::NoSuchHandler(_))));
    assert!(other.remove_handler(id).is_none(), "not the handler that has the same place in the other loop");
    assert_eq!(other.counters().sources, 1);
    assert!(io_loop.remove_handler(id).is_some());
    assert!(matches!(io_loop.update_handler(id, Interest::WRITE), Err(UpdateError::NoSuchHandler(_))));
}

#[test]
fn il3_a_handler_may_change_its_own_interest_from_inside() {
    let io_loop = real_loop();
    let (ours, mut theirs) = readable();
    let id: Rc<Cell<Option<HandlerId<UnixStream>>>> = Rc::default();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (inside, own, log) = (io_loop.clone(), Rc::clone(&id), Rc::clone(&heard));
    id.set(Some(
        io_loop
            .add_handler(ours, Interest::READ, move |socket, ready| {
                log.borrow_mut().push((ready.is_readable(), ready.is_writable()));
                if drain(socket) > 0 {
                    let updated = inside.update_handler(own.get().unwrap(), Interest::WRITE);
                    updated.expect("a handler is there while it runs");
                }
            })
            .unwrap(),
    ));
    turns(&io_loop, 2);
    theirs.write_all(b"nobody asked").unwrap();
    turns(&io_loop, 2);
    assert_eq!(*heard.borrow(), [(true, false), (false, true)]);
    io_loop.close(); // the callback holds a handle of its own loop
}

#[test]
fn a_handler_that_reads_a_part_and_updates_itself_gets_the_rest_without_starving_callbacks() {
    let io_loop = real_loop();
    let (ours, mut theirs) = pair();
    theirs.write_all(b"abcdef").unwrap();
    let id: Rc<Cell<Option<HandlerId<UnixStream>>>> = Rc::default();
    let order = Rc::new(RefCell::new(String::new()));
    let (inside, own, log) = (io_loop.clone(), Rc::clone(&id), Rc::clone(&order));
    id.set(Some(
        io_loop
            .add_handler(ours, Interest::READ, move |socket, _| {
                let mut bytes = [0; 2];
                if socket.read(&mut bytes).is_ok() {
                    log.borrow_mut().push_str(std::str::from_utf8(&bytes).unwrap());
                    let dot = Rc::clone(&log);
                    inside.add_callback(move || dot.borrow_mut().push('.'));
                    inside.update_handler(own.get().unwrap(), Interest::READ).unwrap();
                }
            })
            .unwrap(),
    ));
    turns(&io_loop, 8);
    assert_eq!(*order.borrow(), "ab.cd.ef.");
    io_loop.close();
}

#[test]
fn il4_of_two_handlers_ready_at_once_the_first_may_remove_the_second_which_then_does_not_run() {
    let io_loop = real_loop();
    let ids: Rc<RefCell<Vec<HandlerId<UnixStream>>>> = Rc::default();
    let served = Rc::new(RefCell::new(Vec::new()));
    let mut peers = Vec::new();
    for me in 0..2 {
        let (ours, theirs) = readable();
        peers.push(theirs);
        let (inside, all, log) = (io_loop.clone(), Rc::clone(&ids), Rc::clone(&served));
        let id = io_loop
            .add_handler(ours, Interest::READ, move |_, _| {
                log.borrow_mut().push(me);
                assert!(inside.remove_handler(all.borrow()[1 - me]).is_some());
            })
            .unwrap();
        ids.borrow_mut().push(id);
    }
    turns(&io_loop, 3);
    assert_eq!(served.borrow().len(), 1);
    assert_eq!(io_loop.counters().panics, 0);
    io_loop.close();
}

#[test]
fn il4_il8_an_event_that_was_collected_for_a_removed_handler_does_not_reach_the_one_in_its_place() {
    let io_loop = real_loop();
    let ids: Rc<RefCell<Vec<HandlerId<UnixStream>>>> = Rc::default();
    let quiet_calls = Rc::new(Cell::new(0));
    let (quiet, _quiet_peer) = pair();
    let quiet = Rc::new(Cell::new(Some(quiet)));
    let mut peers = Vec::new();
    for me in 0..2 {
        let (ours, theirs) = readable();
        peers.push(theirs);
        let (inside, all) = (io_loop.clone(), Rc::clone(&ids));
        let (quiet, calls) = (Rc::clone(&quiet), Rc::clone(&quiet_calls));
        let id = io_loop
            .add_handler(ours, Interest::READ, move |_, _| {
                inside.remove_handler(all.borrow()[1 - me]);
                let calls = Rc::clone(&calls);
                let quiet = quiet.take().expect("only one of the two runs");
                inside.add_handler(quiet, Interest::READ, move |_, _| calls.set(calls.get() + 1)).unwrap();
            })
            .unwrap();
        ids.borrow_mut().push(id);
    }
    turns(&io_loop, 3);
    assert_eq!(io_loop.counters().sources, 2, "one of the two, and the quiet one in the other's place");
    assert_eq!(quiet_calls.get(), 0);
    io_loop.close();
}

#[test]
fn il4_removing_a_handler_twice_is_harmless() {
    let io_loop = real_loop();
    let (ours, _theirs) = pair();
    let id = io_loop.add_handler(ours, Interest::READ, |_, _| {}).unwrap();
    assert!(io_loop.remove_handler(id).is_some());
    assert!(io_loop.remove_handler(id).is_none());
    assert_eq!(io_loop.counters().sources, 0);
}

#[test]
fn il4_a_handler_that_removes_itself_keeps_its_source_until_it_returns() {
    let io_loop = real_loop();
    let (ours, mut theirs) = readable();
    let id: Rc<Cell<Option<HandlerId<UnixStream>>>> = Rc::default();
    let (inside, own) = (io_loop.clone(), Rc::clone(&id));
    id.set(Some(
        io_loop
            .add_handler(ours, Interest::READ, move |socket, _| {
                assert!(inside.remove_handler(own.get().unwrap()).is_none(), "its source is in use");
                socket.write_all(b"farewell").unwrap();
            })
            .unwrap(),
    ));
    turns(&io_loop, 1);
    assert_eq!(drain(&mut theirs), 8);
    assert!(is_closed_by_peer(&mut theirs));
    assert_eq!(io_loop.counters().sources, 0);
}

#[test]
fn il5_a_handler_that_waits_to_read_never_hears_of_writing() {
    let io_loop = real_loop();
    let (ours, mut theirs) = pair();
    let heard = Rc::new(Cell::new(Ready::EMPTY));
    let log = Rc::clone(&heard);
    io_loop
        .add_handler(ours, Interest::READ, move |socket, ready| {
            log.set(log.get() | ready);
            drain(socket);
        })
        .unwrap();
    turns(&io_loop, 2);
    assert!(heard.get().is_empty(), "the socket is writable, and nobody was told");
    theirs.write_all(b"x").unwrap();
    turns(&io_loop, 2);
    assert_eq!(heard.get(), Ready::READABLE);
}

/// What two handlers hear that are ready at once, both for reading and writing at first, each of which makes the other a reader.
fn heard_by_two(with_input: bool) -> Vec<Ready> {
    let io_loop = real_loop();
    let ids: Rc<RefCell<Vec<HandlerId<UnixStream>>>> = Rc::default();
    let heard = Rc::new(RefCell::new(Vec::new()));
    let mut peers = Vec::new();
    for me in 0..2 {
        let (ours, mut theirs) = pair();
        if with_input {
            theirs.write_all(b"x").unwrap();
        }
        peers.push(theirs);
        let (inside, all, log) = (io_loop.clone(), Rc::clone(&ids), Rc::clone(&heard));
        let id = io_loop
            .add_handler(ours, Interest::READ_WRITE, move |_, ready| {
                log.borrow_mut().push(ready);
                inside.update_handler(all.borrow()[1 - me], Interest::READ).unwrap();
            })
            .unwrap();
        ids.borrow_mut().push(id);
    }
    turns(&io_loop, 3);
    io_loop.close();
    heard.take()
}

#[test]
fn il5_an_event_collected_before_the_interest_was_narrowed_is_narrowed_too() {
    assert_eq!(
        heard_by_two(false),
        [Ready::WRITABLE],
        "both were writable, the first made the second a reader"
    );
    let heard = heard_by_two(true);
    assert_eq!(heard[..2], [Ready::READABLE | Ready::WRITABLE, Ready::READABLE], "of two parts one is left");
}

#[test]
fn il1_hang_ups_are_reported_to_whoever_waits_for_anything() {
    for interest in [Interest::READ, Interest::WRITE] {
        let io_loop = real_loop();
        let (ours, theirs) = pair();
        let heard = Rc::new(Cell::new(Ready::EMPTY));
        let log = Rc::clone(&heard);
        io_loop.add_handler(ours, interest, move |_, ready| log.set(log.get() | ready)).unwrap();
        turns(&io_loop, 1);
        drop(theirs);
        turns(&io_loop, 1);
        assert!(heard.get().contains(Ready::READ_CLOSED | Ready::WRITE_CLOSED), "{interest:?}");
    }
}

#[test]
fn il7_a_handler_that_panics_is_removed_with_its_source_and_the_others_go_on() {
    let io_loop = real_loop();
    let (bad, mut bad_peer) = readable();
    io_loop.add_handler(bad, Interest::READ, |_, _| panic!("a handler")).unwrap();
    let calls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&calls);
    let (good, _good_peer) = readable();
    io_loop.add_handler(good, Interest::READ, move |_, _| counted.set(counted.get() + 1)).unwrap();
    turns(&io_loop, 3);
    assert!(is_closed_by_peer(&mut bad_peer));
    assert_eq!(calls.get(), 1);
    assert_eq!((io_loop.counters().panics, io_loop.counters().sources), (1, 1));
}

#[test]
fn il4_il7_a_handler_that_panicked_or_removed_itself_is_watched_no_more_though_a_copy_of_its_source_lives_on()
{
    let io_loop = real_loop();
    for panics in [true, false] {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let copy = ours.try_clone().unwrap();
        let id: Rc<Cell<Option<HandlerId<Fd<_>>>>> = Rc::default();
        let (itself, inside) = (Rc::clone(&id), io_loop.clone());
        let handler = move |_: &mut Fd<_>, _| {
            assert!(!panics, "a handler");
            assert!(inside.remove_handler(itself.get().unwrap()).is_none(), "it is in use");
        };
        id.set(Some(io_loop.add_handler(Fd(ours), Interest::READ, handler).unwrap()));
        theirs.write_all(b"x").unwrap();
        turns(&io_loop, 2);
        let before = io_loop.counters();
        assert_eq!(before.sources, 0);
        theirs.write_all(b"x").unwrap();
        turns(&io_loop, 2);
        assert_eq!(io_loop.counters().events, before.events);
        drop(copy);
    }
}

#[test]
fn il36_closing_the_loop_closes_every_source_and_later_handlers_are_refused() {
    let io_loop = real_loop();
    let (ours, mut theirs) = pair();
    let id = io_loop.add_handler(ours, Interest::READ, |_, _| {}).unwrap();
    io_loop.close();
    assert!(is_closed_by_peer(&mut theirs));
    assert!(io_loop.remove_handler(id).is_none());
    let (ours, mut theirs) = pair();
    assert!(io_loop.add_handler(ours, Interest::READ, |_, _| {}).is_err());
    assert!(is_closed_by_peer(&mut theirs), "the refused source was dropped");
    assert_eq!(io_loop.counters().sources, 0);
}

#[test]
fn a_handler_may_close_its_loop_and_no_other_handler_of_that_turn_runs() {
    let io_loop = real_loop();
    let calls = Rc::new(Cell::new(0));
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (ours, theirs) = readable();
        peers.push(theirs);
        let (inside, counted) = (io_loop.clone(), Rc::clone(&calls));
        let handler = move |_: &mut UnixStream, _| {
            counted.set(counted.get() + 1);
            inside.close();
        };
        io_loop.add_handler(ours, Interest::READ, handler).unwrap();
    }
    io_loop.start().expect("the close stops it");
    assert_eq!(calls.get(), 1);
    assert_eq!(Rc::strong_count(&calls), 1, "both callbacks were dropped");
    for peer in &mut peers {
        drain(peer);
        assert!(is_closed_by_peer(peer));
    }
}
