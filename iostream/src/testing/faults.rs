//! What a connection in memory may do to those who use it, and the chance by which it does.

use std::time::Duration;

use super::pair::Side;

/// The bytes of one direction that may be under way, if nothing else is said: about what a socket takes.
const CAPACITY: usize = 64 * 1024;

/// How a [`Pair`](super::Pair) misbehaves. By default it does not: whatever is written arrives at once.
///
/// Everything here is allowed to a real connection, so a protocol must bear it. The same seed gives the same run, on a
/// `VirtualLoop` of `ioloop::testing`.
///
/// | fault | default | of [`seeded`](Faults::seeded) |
/// | --- | --- | --- |
/// | [`capacity`](Faults::capacity) | 64 KiB | 1 byte to 64 KiB |
/// | [`largest_read`](Faults::largest_read), [`largest_write`](Faults::largest_write) | any | any, or 1 byte to 5 KiB |
/// | [`storms`](Faults::storms) | never | never, or one call in 2 to 20 |
/// | [`delay`](Faults::delay) | none | none, or up to 100 ms |
/// | [`end_after`](Faults::end_after), [`reset_after`](Faults::reset_after) | never | never |
#[derive(Debug, Clone)]
pub struct Faults {
    pub(super) random: Random,
    pub(super) capacity: usize,
    pub(super) largest_read: Option<usize>,
    pub(super) largest_write: Option<usize>,
    pub(super) storms: Option<usize>,
    pub(super) delay: Duration,
    pub(super) end_after: [Option<u64>; 2],
    pub(super) reset_after: [Option<u64>; 2],
}

impl Default for Faults {
    fn default() -> Faults {
        Faults::new()
    }
}

impl Faults {
    /// None at all.
    #[must_use]
    pub fn new() -> Faults {
        Faults {
            random: Random(0),
            capacity: CAPACITY,
            largest_read: None,
            largest_write: None,
            storms: None,
            delay: Duration::ZERO,
            end_after: [None; 2],
            reset_after: [None; 2],
        }
    }

    /// Those that lose nothing, as the seed has it: on one wire bytes dribble in one by one, on another they come in time but
    /// hardly any fit on it.
    #[must_use]
    pub fn seeded(seed: u64) -> Faults {
        let mut random = Random(seed);
        let mut size = |sizes: [usize; 4]| {
            let most = sizes[random.below(4)];
            random.up_to(most)
        };
        let (capacity, read, write) =
            (size([10, 1_000, 10_000, CAPACITY]), size([1, 20, 500, 5_000]), size([1, 20, 500, 5_000]));
        Faults {
            capacity,
            largest_read: random.one_in(2).then_some(read),
            largest_write: random.one_in(2).then_some(write),
            storms: random.one_in(2).then(|| 1 + random.up_to(19)),
            delay: if random.one_in(2) {
                Duration::from_micros(random.up_to(100_000) as u64)
            } else {
                Duration::ZERO
            },
            random,
            ..Faults::new()
        }
    }

    /// What chance begins with.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Faults {
        self.random = Random(seed);
        self
    }

    /// Lets `bytes` be under way in each direction; then writes would block until the other side reads.
    ///
    /// # Panics
    ///
    /// When it is zero: nothing would ever arrive.
    #[must_use]
    pub fn capacity(mut self, bytes: usize) -> Faults {
        assert!(bytes > 0, "a wire must hold a byte");
        self.capacity = bytes;
        self
    }

    /// Has each read give 1 to `bytes` bytes.
    ///
    /// # Panics
    ///
    /// When it is zero.
    #[must_use]
    pub fn largest_read(mut self, bytes: usize) -> Faults {
        assert!(bytes > 0, "a read must give a byte");
        self.largest_read = Some(bytes);
        self
    }

    /// Has each write take 1 to `bytes` bytes.
    ///
    /// # Panics
    ///
    /// When it is zero.
    #[must_use]
    pub fn largest_write(mut self, bytes: usize) -> Faults {
        assert!(bytes > 0, "a write must take a byte");
        self.largest_write = Some(bytes);
        self
    }

    /// Has one read and one write in `one_in` say `WouldBlock` though there is something to read, or room, and up to seven of
    /// the calls that follow; each time an event says at once that it was not so.
    ///
    /// # Panics
    ///
    /// When it is less than 2: nothing would ever be read.
    #[must_use]
    pub fn storms(mut self, one_in: usize) -> Faults {
        assert!(one_in > 1, "a storm must end");
        self.storms = Some(one_in);
        self
    }

    /// Has what is written arrive after up to `most` of the loop's time, a day at most, in order.
    #[must_use]
    pub fn delay(mut self, most: Duration) -> Faults {
        self.delay = most.min(Duration::from_secs(24 * 60 * 60));
        self
    }

    /// Ends `side`'s output behind its first `bytes` bytes: the other side reads them and then the end. What `side` writes
    /// beyond fails with `BrokenPipe`.
    #[must_use]
    pub fn end_after(mut self, side: Side, bytes: u64) -> Faults {
        self.end_after[side as usize] = Some(bytes);
        self
    }

    /// Resets the connection once `side` has written `bytes` bytes. What was written until then can be read, then everything
    /// fails with `ConnectionReset`.
    #[must_use]
    pub fn reset_after(mut self, side: Side, bytes: u64) -> Faults {
        self.reset_after[side as usize] = Some(bytes);
        self
    }
}

/// A small generator of our own (splitmix64), so that a seed means the same run for ever.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// 1 to `n`.
    pub(super) fn up_to(&mut self, n: usize) -> usize {
        1 + self.below(n)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
