//! What waits to be sent: small writes copied together, large ones kept as they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Writes from this size on are not copied but sent from where they are, by a vectored write.
pub(crate) const SHARE_BYTES: usize = 16 * 1024;

/// The size of the memory that small writes are copied into.
const COPY_BYTES: usize = 16 * 1024;

/// A writer that appends in place finds at least this much room, so that a response head seldom makes its piece grow.
const APPEND_BYTES: usize = 1024;

/// How many pieces one vectored write sends at most.
pub(crate) const SLICES: usize = 16;

enum Chunk {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Copied(bytes) => bytes,
            Chunk::Shared(bytes) => bytes,
        }
    }
}

/// A queue of pieces in the order in which they were written.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    chunks: VecDeque<Chunk>,
    /// How much of the first piece has been sent.
    sent: usize,
    len: usize,
    /// One piece's memory, kept when a buffer is recycled, so that the usual answer allocates nothing.
    spare: Option<Vec<u8>>,
}

impl WriteBuffer {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() < SHARE_BYTES {
            self.push_copy(&data);
        } else {
            self.len += data.len();
            self.chunks.push_back(Chunk::Shared(data));
        }
    }

    /// Copies `data` behind what is there, into pieces of a fixed size.
    pub(crate) fn push_copy(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            let copy = self.copied_tail(1);
            let n = data.len().min(copy.capacity() - copy.len());
            copy.extend_from_slice(&data[..n]);
            data = &data[n..];
        }
    }

    /// Lets `write` append to the last piece in place. It may grow the piece; what it appends is queued.
    pub(crate) fn append_with<R>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let tail = self.copied_tail(APPEND_BYTES);
        let before = tail.len();
        let result = write(tail);
        debug_assert!(tail.len() >= before, "what was queued is not the writer's to take back");
        self.len += tail.len() - before;
        result
    }

    /// The pieces to send next, at most as many as `slices` has room for. Gives how many there are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        for (place, chunk) in slices.iter_mut().zip(&self.chunks) {
            let sent = if count == 0 { self.sent } else { 0 };
            *place = IoSlice::new(&chunk.bytes()[sent..]);
            count += 1;
        }
        count
    }

    /// The first piece, and whether it is the only one: then a plain write does.
    pub(crate) fn front(&self) -> (&[u8], bool) {
        match self.chunks.front() {
            Some(chunk) => (&chunk.bytes()[self.sent..], self.chunks.len() == 1),
            None => (&[], true),
        }
    }

    /// Takes off what was sent.
    pub(crate) fn advance(&mut self, mut n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        while let Some(front) = self.chunks.front() {
            let left = front.bytes().len() - self.sent;
            if n < left {
                self.sent += n;
                self.trim_shared_front();
                return;
            }
            n -= left;
            self.sent = 0;
            if let Some(Chunk::Copied(copy)) = self.chunks.pop_front() {
                self.keep(copy);
            }
        }
    }

    /// Empties the buffer for its next user and keeps a little memory.
    pub(crate) fn clear(&mut self) {
        while let Some(chunk) = self.chunks.pop_front() {
            if let Chunk::Copied(copy) = chunk {
                self.keep(copy);
            }
        }
        self.chunks.shrink_to(SLICES);
        (self.sent, self.len) = (0, 0);
    }

    /// Drops the reference to what has gone out of a large piece as soon as nothing of it is needed.
    fn trim_shared_front(&mut self) {
        if let Some(Chunk::Shared(bytes)) = self.chunks.front_mut() {
            bytes.advance(self.sent);
            self.sent = 0;
        }
    }

    fn keep(&mut self, mut copy: Vec<u8>) {
        if copy.capacity() == COPY_BYTES {
            copy.clear();
            self.spare = Some(copy);
        }
    }

    fn copied_tail(&mut self, room: usize) -> &mut Vec<u8> {
        let has_room =
            matches!(self.chunks.back(), Some(Chunk::Copied(copy)) if copy.capacity() - copy.len() >= room);
        if !has_room {
            let copy = self.spare.take().unwrap_or_else(|| Vec::with_capacity(COPY_BYTES));
            self.chunks.push_back(Chunk::Copied(copy));
        }
        match self.chunks.back_mut() {
            Some(Chunk::Copied(copy)) => copy,
            _ => unreachable!("a copied piece was just put there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(buffer: &WriteBuffer) -> Vec<u8> {
        let mut all = Vec::new();
        for (index, chunk) in buffer.chunks.iter().enumerate() {
            all.extend_from_slice(&chunk.bytes()[if index == 0 { buffer.sent } else { 0 }..]);
        }
        all
    }

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came_against_a_naive_model() {
        let mut model: Vec<u8> = Vec::new();
        let mut buffer = WriteBuffer::default();
        let mut state = 3_u32;
        for round in 0..5_000_u32 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let size = (state >> 12) as usize % if round % 7 == 0 { 40_000 } else { 300 };
            let data = vec![(round % 251) as u8; size];
            match (state >> 28) % 4 {
                0 => {
                    buffer.push(Bytes::from(data.clone()));
                    model.extend(data);
                }
                1 => {
                    buffer.push_copy(&data);
                    model.extend(data);
                }
                2 => {
                    buffer.append_with(|out| out.extend_from_slice(&data));
                    model.extend(data);
                }
                _ => {
                    let n = size.min(buffer.len());
                    buffer.advance(n);
                    model.drain(..n);
                }
            }
            assert_eq!(buffer.len(), model.len());
            if round % 100 == 0 {
                assert_eq!(contents(&buffer), model);
            }
        }
        assert_eq!(contents(&buffer), model);
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let large = Bytes::from(vec![1; SHARE_BYTES]);
        let mut buffer = WriteBuffer::default();
        buffer.push_copy(b"head");
        buffer.push(large.clone());
        let mut slices = [IoSlice::new(&[]); SLICES];
        assert_eq!(buffer.slices(&mut slices), 2);
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_cleared_buffer_is_empty_and_keeps_one_copy() {
        let mut buffer = WriteBuffer::default();
        buffer.push_copy(&vec![1; 3 * COPY_BYTES]);
        buffer.push(Bytes::from(vec![2; SHARE_BYTES]));
        buffer.clear();
        assert!(buffer.is_empty());
        assert_eq!(buffer.front(), (&[][..], true));
        assert!(buffer.spare.is_some());
    }
}
