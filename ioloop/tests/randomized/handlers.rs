//! The part of the random programs that is about handlers: real sockets, written to, removed and panicked in at random.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;

use ioloop::{HandlerId, Interest, Ready};
use mio::net::UnixStream;

use crate::World;

/// How many handlers live at once, at most.
const AT_ONCE: usize = 4;

pub(crate) struct HandlerModel {
    id: HandlerId<UnixStream>,
    far_end: UnixStream,
    /// Bytes that were written and that the handler has not read.
    unread: usize,
}

pub(crate) type Handlers = RefCell<BTreeMap<u32, HandlerModel>>;

impl World {
    pub(crate) fn add_handler(self: &Rc<Self>) {
        if self.handlers.borrow().len() == AT_ONCE || !self.may_make_one() {
            return;
        }
        let (id, world, token) = (self.id(), Rc::downgrade(self), Rc::clone(&self.token));
        let (near_end, far_end) = UnixStream::pair().unwrap();
        let handler = self.io_loop.add_handler(near_end, Interest::READ, move |near_end, ready| {
            let _token = &token;
            let world = world.upgrade().unwrap();
            world.expect_handler(id, near_end, ready);
            world.act_and_perhaps_panic(|| {
                world.handlers.borrow_mut().remove(&id);
            });
        });
        match handler {
            Ok(handler) => {
                let model = HandlerModel { id: handler, far_end, unread: 0 };
                self.handlers.borrow_mut().insert(id, model);
            }
            Err(error) => self.check(false, || format!("handler {id} was refused: {error}")),
        }
    }

    /// Checks that the handler is alive and has been written to, and reads to the end of what there is.
    fn expect_handler(&self, id: u32, near_end: &mut UnixStream, ready: Ready) {
        let mut read = 0;
        let end = loop {
            match near_end.read(&mut [0; 16]) {
                Ok(0) => break "closed",
                Ok(n) => read += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break "drained",
                Err(_) => break "failed",
            }
        };
        self.check(end == "drained", || format!("the source of handler {id} is {end}"));
        self.check(ready.contains(Ready::READABLE), || format!("handler {id} was told {ready:?}"));
        let mut handlers = self.handlers.borrow_mut();
        match handlers.get_mut(&id) {
            Some(handler) => {
                let unread = std::mem::take(&mut handler.unread);
                self.check(read == unread, || format!("handler {id} read {read} bytes of {unread}"));
                self.check(unread > 0, || format!("handler {id} was called for nothing"));
            }
            None => self.check(false, || format!("handler {id} was called after it was removed")),
        }
    }

    fn pick_handler(&self) -> Option<u32> {
        let handlers = self.handlers.borrow();
        self.pick(handlers.len()).and_then(|at| handlers.keys().nth(at).copied())
    }

    pub(crate) fn write_to_handler(&self) {
        let Some(id) = self.pick_handler() else { return };
        let mut handlers = self.handlers.borrow_mut();
        let handler = handlers.get_mut(&id).unwrap();
        handler.unread += handler.far_end.write(b"to you").unwrap();
    }

    /// From anywhere, the handler's own callback included: then its source does not come back, but goes with the callback.
    pub(crate) fn remove_a_handler(&self) {
        let Some(id) = self.pick_handler() else { return };
        let handler = self.handlers.borrow_mut().remove(&id).unwrap();
        drop(self.io_loop.remove_handler(handler.id));
        self.check(self.io_loop.remove_handler(handler.id).is_none(), || {
            format!("handler {id} was there twice")
        });
    }

    /// Asks for the same anew, which reports what is unread.
    pub(crate) fn update_a_handler(&self) {
        let Some(id) = self.pick_handler() else { return };
        let handler = self.handlers.borrow()[&id].id;
        let updated = self.io_loop.update_handler(handler, Interest::READ);
        self.check(updated.is_ok(), || format!("handler {id} cannot be updated: {updated:?}"));
    }

    /// At the end of a program: nobody's bytes may lie unread.
    pub(crate) fn end_handlers(&self) {
        let handlers = self.handlers.take();
        for (id, handler) in handlers {
            self.check(handler.unread == 0, || {
                format!("handler {id} was never told of {} bytes", handler.unread)
            });
            let source = self.io_loop.remove_handler(handler.id);
            self.check(source.is_some(), || format!("the source of handler {id} did not come back"));
        }
    }
}
