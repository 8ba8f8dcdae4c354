//! What a source can be ready for, and what a handler can ask for.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// The directions a handler or a task waits for: Tornado's `IOLoop.READ` and `IOLoop.WRITE`.
///
/// Errors and hang-ups are always reported and need not be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Interest(u8);

impl Interest {
    /// Wait until reading would not block.
    pub const READ: Interest = Interest(1);
    /// Wait until writing would not block.
    pub const WRITE: Interest = Interest(2);
    /// Both directions.
    pub const READ_WRITE: Interest = Interest(3);

    /// Whether reading is part of this interest.
    #[must_use]
    pub const fn is_read(self) -> bool {
        self.0 & 1 != 0
    }

    /// Whether writing is part of this interest.
    #[must_use]
    pub const fn is_write(self) -> bool {
        self.0 & 2 != 0
    }

    pub(crate) const fn intersects(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }

    /// The events that answer this interest, hang-ups and errors included.
    pub(crate) const fn answered_by(self) -> Ready {
        let mut bits = Ready::ERROR.0;
        if self.is_read() {
            bits |= Ready::READABLE.0 | Ready::READ_CLOSED.0;
        }
        if self.is_write() {
            bits |= Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0;
        }
        Ready(bits)
    }

    pub(crate) fn to_mio(self) -> mio::Interest {
        match (self.is_read(), self.is_write()) {
            (true, true) => mio::Interest::READABLE | mio::Interest::WRITABLE,
            (false, true) => mio::Interest::WRITABLE,
            _ => mio::Interest::READABLE,
        }
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// What a source was found to be ready for: a set of flags.
///
/// `READ_CLOSED`, `WRITE_CLOSED` and `ERROR` never go away again once a source has shown them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const EMPTY: Ready = Ready(0);
    /// Reading will not block.
    pub const READABLE: Ready = Ready(1);
    /// Writing will not block.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer will send nothing more. Bytes that came before may still be unread.
    pub const READ_CLOSED: Ready = Ready(4);
    /// Nothing that is written will arrive any more.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// The source has an error to collect.
    pub const ERROR: Ready = Ready(16);

    /// Whether every flag of `other` is set here.
    #[must_use]
    pub const fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any flag of `other` is set here.
    #[must_use]
    pub const fn intersects(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a read is worth trying: data, end of stream or an error waits.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        self.intersects(Interest::READ.answered_by())
    }

    /// Whether a write is worth trying: there is room, or an error waits.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        self.intersects(Interest::WRITE.answered_by())
    }

    /// The flags of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }

    /// What a handler with `interest` is told of this: a direction that it did not ask for is left out (IL5), the
    /// end of one and errors are not.
    pub(crate) const fn for_interest(self, interest: Interest) -> Ready {
        let mut unasked = Ready::EMPTY;
        if !interest.is_read() {
            unasked.0 |= Ready::READABLE.0;
        }
        if !interest.is_write() {
            unasked.0 |= Ready::WRITABLE.0;
        }
        self.without(unasked)
    }

    pub(crate) fn of(event: &mio::event::Event) -> Ready {
        let mut ready = Ready::EMPTY;
        for (set, flag) in [
            (event.is_readable(), Ready::READABLE),
            (event.is_writable(), Ready::WRITABLE),
            (event.is_read_closed(), Ready::READ_CLOSED),
            (event.is_write_closed(), Ready::WRITE_CLOSED),
            (event.is_error(), Ready::ERROR),
        ] {
            if set {
                ready |= flag;
            }
        }
        ready
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Ready::READABLE, "READABLE"),
            (Ready::WRITABLE, "WRITABLE"),
            (Ready::READ_CLOSED, "READ_CLOSED"),
            (Ready::WRITE_CLOSED, "WRITE_CLOSED"),
            (Ready::ERROR, "ERROR"),
        ];
        f.debug_set()
            .entries(names.into_iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| name))
            .finish()
    }
}
