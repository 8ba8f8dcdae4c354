//! TLS between a stream and its carrier: ciphertext in and out, plaintext up and down.
//!
//! ```text
//!                                               ┌◀─ a little, as a request is ───────────────┐
//!   stream reads  ◀── plaintext ── rustls ◀────────┤                                             ├◀── one receive ── carrier
//!                                               └◀─ 18 KiB at a time ── a leased block ◀─ more ─┘
//!   stream writes ──▶ at most 64 KiB ──▶ rustls ── records ──────────────────────────────── one send ──▶ carrier
//! ```

use std::io::{self, IoSlice, Write};
use std::task::Poll;

use ioloop::{Notifier, Ready, Registration};
use rustls::Connection;

use crate::pool::Block;
use crate::tls::error::TlsError;
use crate::tls::info::TlsInfo;
use crate::transport::Socket;

/// The most plaintext that is encrypted before it is sent.
const PLAINTEXT_PER_SEND: usize = 64 * 1024;

/// Receives in one read that yield no plaintext before other streams get their turn: records without content cost the
/// peer little.
const RECEIVES_PER_READ: usize = 4;

const CONTENT_ALERT: u8 = 21;
const CONTENT_HANDSHAKE: u8 = 22;

/// A carrier with TLS on it. Like any transport it tries at once and says `WouldBlock`.
///
/// What it gives up to is the rule of edge-triggered readiness: `WouldBlock` from a read means that the carrier said so
/// *and* that nothing is left in here (IO51).
pub(crate) struct TlsTransport {
    carrier: Socket,
    connection: Connection,
    /// Makes the stream readable when it has had its share with nothing to show for it.
    notifier: Notifier,
    ciphertext: Ciphertext,
    /// The last receive has filled what it was given, so that the next one gets a block.
    expects_much: bool,
    /// Plaintext that rustls holds for the reader: so much, or less where a record behind it was bad.
    readable: usize,
    /// Plaintext that is encrypted already, while the write that brought it has been told `WouldBlock`: it is done only
    /// when all of it is in the kernel (IO25), and it will be offered again.
    promised: usize,
    /// This read has received, and last less than there was room for. Not what an earlier one has: more may have come since,
    /// and the event that told of it must not be forgotten.
    received_short: bool,
    /// Something that looks like TLS has come.
    heard_tls: bool,
    end: Option<End>,
    output: Output,
}

/// Why no more plaintext will come.
enum End {
    CloseNotify,
    /// The carrier has ended, and nothing was said in TLS. What came before is authentic, and the other side may stand.
    Cut,
    Failed(TlsError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Open,
    /// `close_notify` is on its way, and behind it the carrier's side is to be ended.
    Ending,
    Ended,
    /// The carrier has failed where nobody could be told: the next write is.
    Failed(io::ErrorKind),
}

impl TlsTransport {
    /// `begun` has been received already.
    pub(crate) fn new(
        carrier: Socket,
        mut connection: Connection,
        notifier: Notifier,
        begun: &[u8],
    ) -> TlsTransport {
        connection.set_buffer_limit(Some(PLAINTEXT_PER_SEND));
        TlsTransport {
            carrier,
            connection,
            notifier,
            ciphertext: Ciphertext::of(begun),
            expects_much: false,
            readable: 0,
            promised: 0,
            received_short: false,
            heard_tls: false,
            end: None,
            output: Output::Open,
        }
    }

    /// Makes the stream of this registration readable from now on, where it made another's before.
    pub(crate) fn settle(&mut self, registration: &Registration) {
        self.notifier = registration.notifier();
        self.carrier.settle(registration);
    }

    pub(crate) fn carrier(&self) -> &Socket {
        &self.carrier
    }

    pub(crate) fn carrier_mut(&mut self) -> &mut Socket {
        &mut self.carrier
    }

    /// `None` until the handshake is done.
    pub(crate) fn info(&self) -> Option<TlsInfo> {
        if self.connection.is_handshaking() { None } else { TlsInfo::of(&self.connection) }
    }

    /// Takes the handshake as far as it goes without waiting. What it has to send may still be here when it is done. Pending when
    /// all that had come is used up; `WouldBlock` when nothing had.
    pub(crate) fn handshake(&mut self) -> io::Result<Poll<()>> {
        let _ = self.send_own(); // what finds no room is flushed by the stream, see `wants_flush`
        self.received_short = false;
        while self.connection.is_handshaking() {
            if let Some(end) = &self.end {
                return Err(end.as_failure().into());
            }
            if self.feed() {
                continue;
            }
            if self.is_drained() {
                return Ok(Poll::Pending);
            }
            self.receive()?;
        }
        // TLS 1.2 servers and TLS 1.3 clients are the last to speak, and may find that nobody listens.
        match &self.end {
            Some(End::Failed(error)) => Err(error.clone().into()),
            _ => Ok(Poll::Ready(())),
        }
    }

    /// Whether neither the carrier nor this has anything left of what had come by the last receive.
    pub(crate) fn is_drained(&self) -> bool {
        self.readable == 0 && self.ciphertext.is_empty() && self.short_read_means_drained()
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        let mut receives = 0;
        self.received_short = false;
        loop {
            filled += self.take_readable(&mut buffer[filled..]);
            if filled < buffer.len() && self.feed() {
                continue;
            }
            if filled > 0 {
                if self.short_read_means_drained() {
                    self.shrink(); // the stream may be about to wait, and will not ask again before
                }
                return Ok(filled);
            }
            match &self.end {
                Some(End::CloseNotify) => return Ok(0),
                Some(End::Cut) => return Err(TlsError::Truncated.into()),
                Some(End::Failed(error)) => return Err(error.clone().into()),
                None => {}
            }
            if receives == RECEIVES_PER_READ {
                self.notifier.set_ready(Ready::READABLE);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.receive()?;
            receives += 1;
        }
    }

    /// Takes of the plaintext that is there.
    fn take_readable(&mut self, buffer: &mut [u8]) -> usize {
        if self.readable == 0 {
            return 0;
        }
        let n = io::Read::read(&mut self.connection.reader(), buffer).unwrap_or(0);
        self.readable = if n == 0 { 0 } else { self.readable.saturating_sub(n) };
        n
    }

    /// Whether the carrier, too, has nothing left after a read that had room to spare, which has left nothing here.
    pub(crate) fn short_read_means_drained(&self) -> bool {
        self.received_short && self.end.is_none() && self.carrier.short_read_means_drained()
    }

    pub(crate) fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if let Some(End::Failed(error)) = &self.end {
            return Err(error.clone().into());
        }
        if matches!(self.output, Output::Ending | Output::Ended) {
            return Err(io::ErrorKind::BrokenPipe.into()); // in a stream that it has come to since
        }
        self.flush()?;
        if self.connection.is_handshaking() {
            return Err(io::ErrorKind::WouldBlock.into()); // the end of the handshake makes the stream writable
        }
        if self.promised == 0 {
            self.promised = self.connection.writer().write_vectored(slices)?;
            self.flush()?;
        }
        // Offered again, it may be cut differently, and be less than what was promised.
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let n = self.promised.min(offered);
        self.promised -= n;
        Ok(n)
    }

    /// Sends what TLS has to say of its own accord, or says `WouldBlock`. A failure is for the next write: there may still
    /// be something to read, such as the reason.
    pub(crate) fn send_own(&mut self) -> io::Result<()> {
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.output = Output::Failed(error.kind());
                Ok(())
            }
            result => result,
        }
    }

    /// Sends what is encrypted; `WouldBlock` if the carrier does not take all of it.
    fn flush(&mut self) -> io::Result<()> {
        match self.output {
            Output::Failed(kind) => return Err(kind.into()),
            Output::Ended => return self.carrier.send_own(), // whatever TLS still wants to say, nobody can be told
            Output::Open | Output::Ending => {}
        }
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut ToCarrier(&mut self.carrier)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.carrier.send_own()?;
        if self.output == Output::Ending {
            self.output = Output::Ended;
            self.carrier.shutdown_write()?;
        }
        Ok(())
    }

    /// Whether something of TLS' own making waits for room: an answer in a handshake, an alert, the end.
    pub(crate) fn wants_flush(&self) -> bool {
        match self.output {
            Output::Open => self.connection.wants_write() || self.carrier.wants_flush(),
            Output::Ending => true,
            Output::Ended => self.carrier.wants_flush(),
            Output::Failed(_) => false,
        }
    }

    /// Says `close_notify`, and ends the carrier's side once that is sent; `WouldBlock` until then.
    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        if self.connection.is_handshaking() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.connection.send_close_notify();
        if self.output == Output::Open {
            self.output = Output::Ending;
        }
        self.flush()
    }

    /// The last chance to say `close_notify`, for a stream that closes and has sent everything. No waiting.
    pub(crate) fn say_goodbye(&mut self) {
        if !self.connection.is_handshaking() {
            self.connection.send_close_notify(); // once: rustls says it no second time, nor behind another last word
            let _ = self.flush(); // the stream closes in any case
            self.discard_arrived();
            self.carrier.say_goodbye();
        }
    }

    /// Takes from the carrier what has arrived. A kernel answers the closing of a socket that holds unread bytes with a reset,
    /// which can overtake what was sent last; and the tickets of a TLS 1.3 server are for nobody to read.
    fn discard_arrived(&mut self) {
        let mut block = Block::lease();
        for _ in 0..RECEIVES_PER_READ {
            if !matches!(self.carrier.read(&mut block), Ok(n) if n == block.len()) {
                return;
            }
        }
    }

    /// Gets ciphertext from the carrier, once; the end of the carrier is an end of ours. A little goes straight to where rustls
    /// decrypts it. For that it has room for 4 KiB to begin with: where more comes, a block takes it in one receive.
    fn receive(&mut self) -> io::Result<()> {
        if !self.expects_much {
            let mut source = Source { carrier: &mut self.carrier, room: None, first: 0 };
            let result = self.connection.read_tls(&mut source);
            let Source { room, first, .. } = source;
            if result.as_ref().is_ok_and(|n| *n > 0) && !self.hears_tls(first) {
                return Ok(());
            }
            return self.received(result, room);
        }
        let mut block = Block::lease();
        let result = self.carrier.read(&mut block).map(|n| n.min(block.len()));
        match result {
            Ok(n) if n > 0 => {
                (self.received_short, self.expects_much) = (n < block.len(), n == block.len());
                self.ciphertext = Ciphertext { block, start: 0, end: n };
                Ok(())
            }
            result => {
                self.expects_much = false;
                self.shrink();
                self.received(result, Some(block.len()))
            }
        }
    }

    /// What came of a read by rustls. There was no `room` if it did not come to reading.
    fn received(&mut self, result: io::Result<usize>, room: Option<usize>) -> io::Result<()> {
        match (result, room) {
            (Ok(0), _) => self.end = Some(End::Cut),
            (Ok(n), room) => {
                self.received_short = room.is_some_and(|room| n < room);
                self.expects_much = !self.received_short;
                self.process();
            }
            (Err(error), Some(_)) => return Err(error),
            // "The buffer is full": a record, or a message in pieces, that is larger than any may be.
            (Err(error), None) => self.fail_and_tell(rustls::Error::General(error.to_string())),
        }
        Ok(())
    }

    /// Whether this is a conversation in TLS, by the first byte of it. If not, it has failed.
    fn hears_tls(&mut self, first: u8) -> bool {
        if !self.heard_tls {
            self.heard_tls = matches!(first, CONTENT_HANDSHAKE | CONTENT_ALERT);
            if !self.heard_tls {
                self.fail(TlsError::NotTls);
            }
        }
        self.heard_tls
    }

    /// Gives rustls the next of what is in the block; `false` if nothing is.
    fn feed(&mut self) -> bool {
        if self.ciphertext.is_empty() {
            return false;
        }
        if !self.hears_tls(self.ciphertext.unread()[0]) {
            return true;
        }
        let mut unread = self.ciphertext.unread();
        let before = unread.len();
        match self.connection.read_tls(&mut unread).map(|_| before - unread.len()) {
            Ok(n) => {
                self.ciphertext.consume(n);
                self.process();
            }
            Err(error) => self.fail_and_tell(rustls::Error::General(error.to_string())), // as above
        }
        true
    }

    /// Has rustls let go of a buffer that has grown to 32 KiB with large records: asked to read, it keeps 4 KiB.
    fn shrink(&mut self) {
        let _ = self.connection.read_tls(&mut NothingYet);
    }

    /// Has rustls make of the ciphertext what it can, and sends what it has to say to that.
    fn process(&mut self) {
        // Caught, because debug builds of rustls assert that no error comes behind our `close_notify`, which is
        // the peer's choice (rustls issue 959).
        let outcome = ioloop::caught(|| self.connection.process_new_packets())
            .unwrap_or_else(|panic| Err(rustls::Error::General(panic)));
        match outcome {
            Ok(state) => {
                self.readable = state.plaintext_bytes_to_read();
                if state.peer_has_closed() {
                    self.end = Some(End::CloseNotify);
                    self.ciphertext = Ciphertext::default(); // what comes behind the end is not for us (RFC 8446 §6.1)
                }
                if state.tls_bytes_to_write() > 0 {
                    let _ = self.send_own(); // what finds no room is flushed by the stream, see `wants_flush`
                }
            }
            Err(error) => self.fail_and_tell(error),
        }
    }

    fn fail_and_tell(&mut self, error: rustls::Error) {
        self.fail(TlsError::of(error));
        self.readable = usize::MAX; // what came before it
        let _ = self.send_own(); // as above: there is an alert
    }

    fn fail(&mut self, error: TlsError) {
        self.end = Some(End::Failed(error));
        self.ciphertext = Ciphertext::default();
    }
}

impl End {
    /// An end in the middle of a handshake is a failure, however it came about.
    fn as_failure(&self) -> TlsError {
        match self {
            End::CloseNotify | End::Cut => TlsError::Truncated,
            End::Failed(error) => error.clone(),
        }
    }
}

/// What was received and has not been given to rustls, in a block that is leased only while there is something.
#[derive(Default)]
struct Ciphertext {
    block: Block,
    start: usize,
    end: usize,
}

impl Ciphertext {
    fn of(bytes: &[u8]) -> Ciphertext {
        let mut block = Block::of(bytes.len());
        block.copy_from_slice(bytes);
        Ciphertext { block, start: 0, end: bytes.len() }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn unread(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            *self = Ciphertext::default();
        }
    }
}

/// The carrier for one read by rustls.
struct Source<'a> {
    carrier: &'a mut Socket,
    /// How much rustls had room for.
    room: Option<usize>,
    /// What came first into that.
    first: u8,
}

impl io::Read for Source<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.room = Some(room.len());
        let n = self.carrier.read(room)?.min(room.len());
        self.first = room.first().copied().unwrap_or_default();
        Ok(n)
    }
}

/// The carrier as rustls wants it.
struct ToCarrier<'a>(&'a mut Socket);

impl Write for ToCarrier<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data)
    }

    /// Mostly it is one record, and the system call for one piece costs less.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match slices {
            [only] => self.0.write(only),
            _ => self.0.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A source that has nothing for now.
struct NothingYet;

impl io::Read for NothingYet {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use ioloop::Registration;

    use super::*;
    use crate::transport::Transport;

    /// Takes all, and notes how many pieces it was offered; none where it was no list of them.
    struct Taker(Rc<Cell<usize>>);

    impl Transport for Taker {
        fn attach(&mut self, _: &Registration) -> io::Result<()> {
            Ok(())
        }

        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }

        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.set(0);
            Ok(data.len())
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.0.set(slices.len());
            Ok(slices.iter().map(|slice| slice.len()).sum())
        }

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn one_record_is_written_as_one_piece_and_several_as_a_list() {
        let offered = Rc::new(Cell::new(usize::MAX));
        let mut socket = Socket::own(Box::new(Taker(Rc::clone(&offered))));
        let record = IoSlice::new(b"a record");
        assert_eq!(ToCarrier(&mut socket).write_vectored(&[record]).unwrap(), 8);
        assert_eq!(offered.get(), 0);
        assert_eq!(ToCarrier(&mut socket).write_vectored(&[record, record]).unwrap(), 16);
        assert_eq!(offered.get(), 2);
    }
}
