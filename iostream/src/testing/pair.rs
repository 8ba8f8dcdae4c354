//! Two streams that are connected in memory.

use std::cell::RefCell;
use std::rc::Rc;

use super::Calls;
use super::faults::Faults;
use super::wire::{End, State};
use crate::options::StreamOptions;
use crate::stream::IoStream;

/// Two connected streams on the current loop: what goes into one comes out of the other. [`Pair`] makes them harder to live
/// with.
///
/// ```
/// # use ioloop::testing::VirtualLoop;
/// # VirtualLoop::new().run(async {
/// let (client, server) = iostream::testing::pair();
/// client.write("hello\n").await?;
/// assert_eq!(server.read_until(b"\n").await?, "hello\n");
/// drop(client);
/// assert!(server.read_bytes(1).await.unwrap_err().is_disconnect());
/// # Ok::<(), iostream::StreamError>(())
/// # }).unwrap();
/// ```
#[must_use]
pub fn pair() -> (IoStream, IoStream) {
    let pair = Pair::new(Faults::new());
    (pair.left, pair.right)
}

/// Two streams that are connected in memory by a wire with [`Faults`].
///
/// ```
/// # use ioloop::testing::VirtualLoop;
/// use iostream::testing::{Pair, Side};
///
/// # VirtualLoop::new().run(async {
/// for seed in 0..20 {
///     let pair = Pair::seeded(seed);
///     drop(pair.left.write("hello\n")); // awaiting it here would wait for a reader, where the wire is narrow
///     assert_eq!(pair.right.read_until(b"\n").await?, "hello\n", "seed {seed}");
///     println!("seed {seed}: {:?}", pair.wire.calls(Side::Right));
/// }
/// # Ok::<(), iostream::StreamError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Pair {
    /// One end.
    pub left: IoStream,
    /// The other.
    pub right: IoStream,
    /// What is between them.
    pub wire: Wire,
}

/// An end of a [`Pair`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The stream `left`.
    Left,
    /// The stream `right`.
    Right,
}

/// What is between the two streams of a [`Pair`]. Clones are the same wire.
#[derive(Debug, Clone)]
pub struct Wire {
    state: Rc<RefCell<State>>,
}

impl Pair {
    /// Two streams with the default limits.
    #[must_use]
    pub fn new(faults: Faults) -> Pair {
        Pair::with_options(faults, StreamOptions::default())
    }

    /// Two streams over a wire with [`Faults::seeded`].
    #[must_use]
    pub fn seeded(seed: u64) -> Pair {
        Pair::new(Faults::seeded(seed))
    }

    /// Two streams with these limits.
    ///
    /// # Panics
    ///
    /// When a limit is out of range.
    #[must_use]
    pub fn with_options(faults: Faults, options: StreamOptions) -> Pair {
        let (state, options) = (State::new(faults), Rc::new(options));
        let stream = |side| {
            let end = Box::new(End::new(side, &state));
            IoStream::with_options(end, Rc::clone(&options)).expect("limits that are in range")
        };
        Pair { left: stream(Side::Left), right: stream(Side::Right), wire: Wire { state } }
    }
}

impl Wire {
    /// How often the transport of the stream on `side` has been called.
    #[must_use]
    pub fn calls(&self, side: Side) -> Calls {
        self.state.borrow().calls(side)
    }

    /// Bytes that `side` has written and the other has not read.
    #[must_use]
    pub fn in_flight(&self, side: Side) -> usize {
        self.state.borrow().in_flight(side)
    }

    /// Resets the connection now: what is under way is lost, and everything fails with `ConnectionReset`.
    pub fn reset(&self) {
        self.state.borrow_mut().reset_now();
    }
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}
