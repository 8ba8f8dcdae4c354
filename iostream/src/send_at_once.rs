//! Sending without queueing: data that nothing waits before, and that gains nothing by waiting for company, goes to the transport
//! from where it lies. Only what the transport does not take is queued.

use std::io;
use std::rc::Rc;

use ioloop::Ready;

use crate::flush::BYTES_PER_TURN;
use crate::stream::Inner;
use crate::write_buffer::WriteBuffer;

impl Inner {
    /// Whether data may be given to the transport before it is queued.
    pub(crate) fn may_send_at_once(&self) -> bool {
        self.write.queued() == self.write.sent() && !self.flags.awaits_room.get()
    }

    /// Sends what the transport takes of `data` and has `queue` queue what is behind that; gives the position behind `data`, as if all
    /// of it had been queued. For who [may](Inner::may_send_at_once), on a stream that can be written to.
    #[inline]
    pub(crate) fn send_at_once<D: AsRef<[u8]>>(
        self: &Rc<Self>,
        data: D,
        queue: impl FnOnce(&mut WriteBuffer, D, usize),
    ) -> u64 {
        let bytes = data.as_ref().len();
        // Counted before: what a transport of the user's own writes meanwhile comes behind it.
        let position = self.write.count_queued(bytes);
        let sent = self.offer(data.as_ref());
        if let Some(rare) = self.rare_if_any() {
            self.wake_reached(rare); // who waits already does so from inside the transport
        }
        if sent < bytes && !self.is_closed() {
            self.write.queue_in_front(|buffer| queue(buffer, data, sent));
            self.flush_at_end_of_turn();
        }
        position
    }

    /// Offers `data` to the transport, as much as is left of this turn's share; gives how much it has taken.
    #[inline]
    fn offer(self: &Rc<Self>, data: &[u8]) -> usize {
        let turn = self.registration.turn();
        let tried = data.len().min(self.shares.left_to_write(turn, BYTES_PER_TURN));
        if tried == 0 {
            return 0;
        }
        let offered =
            self.with_socket(|socket| (socket.write(&data[..tried]), socket.short_write_means_full()));
        match offered {
            Some((Ok(n), short_means_full)) if n > 0 => {
                let n = n.min(tried);
                self.write.count_sent(n);
                self.shares.count_written(turn, n);
                if n < tried && short_means_full {
                    self.wait_for_room();
                }
                n
            }
            Some((result, _)) => {
                self.offer_failed(result.err());
                0
            }
            None => 0, // the transport calls from inside a read or a write
        }
    }

    #[cold]
    fn offer_failed(self: &Rc<Self>, error: Option<io::Error>) {
        let error = error.unwrap_or_else(|| io::ErrorKind::WriteZero.into());
        match error.kind() {
            io::ErrorKind::WouldBlock => self.wait_for_room(),
            io::ErrorKind::Interrupted => {}
            _ => drop(self.fail_writing(error)),
        }
    }

    fn wait_for_room(self: &Rc<Self>) {
        self.registration.clear(Ready::WRITABLE);
        self.send_when_there_is_room();
    }
}
