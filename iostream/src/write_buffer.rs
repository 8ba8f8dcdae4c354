//! What waits to be sent: small writes copied together, large ones kept as they are.

use std::io::IoSlice;

use bytes::Bytes;

use crate::budget;

/// Writes from this size on are not copied but sent from where they are, by a vectored write.
pub(crate) const SHARE_BYTES: usize = 16 * 1024;

/// The size of the memory that small writes are copied into.
const COPY_BYTES: usize = 16 * 1024;

/// What is copied between two pieces that are not is most likely what frames them, and takes no memory of its own.
const FRAMING_BYTES: usize = 30;

/// How many pieces one vectored write sends at most: a mebibyte of the smallest that are not copied, with what frames them.
pub(crate) const SLICES: usize = 136;

enum Chunk {
    Copied(Vec<u8>),
    /// Copied too.
    Framing(Framing),
    /// Not copied: this is the last reference to it.
    Owned(Bytes),
    /// Not copied, and others have it too.
    Lent(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Copied(bytes) => bytes,
            Chunk::Framing(framing) => &framing.bytes[..usize::from(framing.len)],
            Chunk::Owned(bytes) | Chunk::Lent(bytes) => bytes,
        }
    }

    /// Copies as much of `data` behind what is here as there is room for.
    #[inline]
    fn append(&mut self, data: &[u8]) -> usize {
        match self {
            Chunk::Copied(bytes) => {
                let n = data.len().min(bytes.capacity() - bytes.len());
                bytes.extend_from_slice(&data[..n]);
                n
            }
            Chunk::Framing(framing) => framing.append(data),
            Chunk::Owned(_) | Chunk::Lent(_) => 0,
        }
    }

    fn room(&self) -> usize {
        match self {
            Chunk::Copied(bytes) => bytes.capacity() - bytes.len(),
            Chunk::Framing(framing) => FRAMING_BYTES - usize::from(framing.len),
            Chunk::Owned(_) | Chunk::Lent(_) => 0,
        }
    }

    /// The memory that goes when this goes. The same as long as it is in the queue.
    fn held(&self) -> usize {
        match self {
            Chunk::Copied(bytes) => bytes.capacity(),
            Chunk::Owned(bytes) => bytes.len(),
            Chunk::Framing(_) | Chunk::Lent(_) => 0,
        }
    }
}

/// A few bytes, where they stand in the queue.
#[derive(Default)]
struct Framing {
    bytes: [u8; FRAMING_BYTES],
    len: u8,
}

impl Framing {
    fn append(&mut self, data: &[u8]) -> usize {
        let room = &mut self.bytes[usize::from(self.len)..];
        let n = data.len().min(room.len());
        room[..n].copy_from_slice(&data[..n]);
        self.len += n as u8;
        n
    }
}

/// A queue of pieces in the order in which they were written.
#[derive(Default)]
pub(crate) struct WriteBuffer {
    /// Those before `first` have been sent. A `Vec` and no deque, because there is mostly one.
    chunks: Vec<Chunk>,
    first: usize,
    /// How much of the first piece has been sent.
    sent: usize,
    len: usize,
    /// The memory of all pieces, less what others have too.
    held: usize,
    /// One piece's memory, kept when a buffer is recycled, so that the usual answer allocates nothing.
    spare: Option<Vec<u8>>,
}

impl WriteBuffer {
    /// The memory that goes when what waits has been sent.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

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
            self.push_chunk(if data.is_unique() { Chunk::Owned(data) } else { Chunk::Lent(data) });
        }
    }

    /// Copies `data` behind what is there, into pieces of a fixed size.
    pub(crate) fn push_copy(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            let n = self.tail_with_room(data.len()).append(data);
            data = &data[n..];
        }
    }

    /// Empty memory for a writer of its own; it comes back with [`push_piece`](WriteBuffer::push_piece).
    #[inline]
    pub(crate) fn blank_piece(&mut self) -> Vec<u8> {
        self.spare.take().unwrap_or_else(|| Vec::with_capacity(COPY_BYTES))
    }

    /// Gives back what would serve the next writer, as the last one waits.
    pub(crate) fn drop_spare(&mut self) {
        self.spare = None;
    }

    /// Queues what a writer has made of its piece: as it is, or copied behind the last one where that has room.
    #[inline]
    pub(crate) fn push_piece(&mut self, mut piece: Vec<u8>) {
        self.len += piece.len();
        match self.chunks.last_mut() {
            Some(Chunk::Copied(copy)) if copy.capacity() - copy.len() >= piece.len() => {
                copy.extend_from_slice(&piece);
                self.keep(piece);
            }
            Some(last) if last.room() >= piece.len() => {
                last.append(&piece);
                self.keep(piece);
            }
            _ if piece.is_empty() => self.keep(piece),
            _ => {
                if budget::scarce(0).is_some() {
                    piece.shrink_to_fit(); // its room for more would be taken from others
                }
                self.push_chunk(Chunk::Copied(piece));
            }
        }
    }

    #[inline]
    fn push_chunk(&mut self, chunk: Chunk) {
        if let Chunk::Lent(bytes) = &chunk {
            budget::enter_lent(bytes.len());
        }
        self.held += chunk.held();
        budget::enter(chunk.held());
        self.chunks.push(chunk);
    }

    /// Takes the first piece off that waits.
    fn pop_chunk(&mut self) -> Chunk {
        let chunk = std::mem::replace(&mut self.chunks[self.first], Chunk::Framing(Framing::default()));
        if let Chunk::Lent(bytes) = &chunk {
            budget::leave_lent(bytes.len());
        }
        self.held -= chunk.held();
        budget::leave(chunk.held());
        self.first += 1;
        // By half at least, so that each moves once.
        if self.first >= SLICES && self.first >= self.chunks.len() / 2 {
            self.chunks.drain(..self.first);
            self.first = 0;
        }
        chunk
    }

    /// Those that wait.
    #[inline]
    fn waiting(&self) -> &[Chunk] {
        &self.chunks[self.first..]
    }

    /// Queues everything that is in `later`, of which nothing has been sent.
    pub(crate) fn append(&mut self, later: &mut WriteBuffer) {
        debug_assert!(later.sent == 0);
        self.len += std::mem::take(&mut later.len);
        self.held += std::mem::take(&mut later.held);
        self.chunks.extend(later.chunks.drain(std::mem::take(&mut later.first)..));
        later.chunks.clear();
    }

    /// What is to be sent next, if it is one piece and no more than `most` bytes.
    #[inline]
    pub(crate) fn only_piece(&self, most: usize) -> Option<&[u8]> {
        let [only] = self.waiting() else { return None };
        (self.len <= most).then(|| &only.bytes()[self.sent..])
    }

    /// The pieces to send next: as many as `slices` has room for, and at most `most` bytes. Gives how many pieces and
    /// how many bytes these are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES], most: usize) -> (usize, usize) {
        let (mut count, mut total) = (0, 0);
        for (place, chunk) in slices.iter_mut().zip(self.waiting()) {
            if total == most {
                break;
            }
            let bytes = &chunk.bytes()[if count == 0 { self.sent } else { 0 }..];
            let bytes = &bytes[..bytes.len().min(most - total)];
            *place = IoSlice::new(bytes);
            count += 1;
            total += bytes.len();
        }
        (count, total)
    }

    /// Takes off what was sent.
    #[inline]
    pub(crate) fn advance(&mut self, mut n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        if self.len == 0 {
            return self.take_off_all();
        }
        while let Some(front) = self.waiting().first() {
            let left = front.bytes().len() - self.sent;
            if n < left {
                self.sent += n;
                return;
            }
            n -= left;
            self.sent = 0;
            if let Chunk::Copied(copy) = self.pop_chunk() {
                self.keep(copy);
            }
        }
    }

    /// Empties the buffer for its next user and keeps a little memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if !self.chunks.is_empty() {
            self.take_off_all();
        }
        (self.sent, self.len) = (0, 0);
        if self.chunks.capacity() > SLICES {
            self.chunks.shrink_to(SLICES);
        }
    }

    /// Drops all pieces.
    #[inline]
    fn take_off_all(&mut self) {
        budget::leave(std::mem::take(&mut self.held));
        (self.first, self.sent) = (0, 0);
        if self.chunks.len() > 1 {
            return self.drop_chunks();
        }
        match self.chunks.pop() {
            Some(Chunk::Copied(only)) => self.keep(only),
            Some(Chunk::Lent(only)) => budget::leave_lent(only.len()),
            Some(Chunk::Framing(_) | Chunk::Owned(_)) | None => {}
        }
    }

    /// The budget is told once for all of them, and before: a piece may be foreign, and its drop foreign code.
    fn drop_chunks(&mut self) {
        let lent = |chunk: &Chunk| if let Chunk::Lent(bytes) = chunk { bytes.len() } else { 0 };
        budget::leave_lent(self.chunks.iter().map(lent).sum());
        let mut chunks = std::mem::take(&mut self.chunks);
        for chunk in chunks.drain(..) {
            if let Chunk::Copied(copy) = chunk {
                self.keep(copy);
            }
        }
        self.chunks = chunks;
    }

    #[inline]
    fn keep(&mut self, mut copy: Vec<u8>) {
        if copy.capacity() == COPY_BYTES {
            copy.clear();
            self.spare = Some(copy);
        }
    }

    /// The last piece, with room for one byte at least; `bytes` are to follow.
    fn tail_with_room(&mut self, bytes: usize) -> &mut Chunk {
        if self.chunks.last().is_none_or(|last| last.room() == 0) {
            let tail = match self.chunks.last() {
                Some(Chunk::Owned(_) | Chunk::Lent(_)) if bytes <= FRAMING_BYTES / 2 => {
                    Chunk::Framing(Framing::default())
                }
                _ if budget::scarce(0).is_some() => {
                    Chunk::Copied(Vec::with_capacity(bytes.clamp(FRAMING_BYTES, COPY_BYTES)))
                }
                _ => Chunk::Copied(self.blank_piece()),
            };
            self.push_chunk(tail);
        }
        self.chunks.last_mut().expect("it was just put there")
    }
}

impl Drop for WriteBuffer {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(buffer: &WriteBuffer) -> Vec<u8> {
        let mut all = Vec::new();
        for (index, chunk) in buffer.waiting().iter().enumerate() {
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
                    let mut piece = buffer.blank_piece();
                    assert!(piece.is_empty());
                    piece.extend_from_slice(&data);
                    buffer.push_piece(piece);
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
        assert_eq!(buffer.slices(&mut slices, usize::MAX), (2, 4 + SHARE_BYTES));
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn what_frames_a_large_piece_takes_no_memory_of_its_own() {
        let mut buffer = WriteBuffer::default();
        for _ in 0..3 {
            buffer.push(Bytes::from(vec![1; SHARE_BYTES]));
            buffer.push_copy(b"\r\n");
            let mut piece = buffer.blank_piece();
            piece.extend_from_slice(b"4000\r\n");
            buffer.push_piece(piece);
        }
        assert_eq!(buffer.chunks.len(), 6);
        assert_eq!(buffer.held(), 3 * SHARE_BYTES);
        assert_eq!(contents(&buffer)[SHARE_BYTES..][..8], *b"\r\n4000\r\n");
        assert_eq!(
            size_of::<Chunk>(),
            size_of::<Option<Bytes>>() + 8,
            "no larger than what else stands there"
        );
    }

    #[test]
    fn what_waits_for_long_holds_no_memory_beside_its_own() {
        let mut buffer = WriteBuffer::default();
        for _ in 0..2 {
            let mut piece = buffer.blank_piece();
            piece.extend_from_slice(b"a line\r\n");
            buffer.push_piece(piece);
        }
        assert!(buffer.spare.is_some(), "the second was copied behind the first");
        buffer.drop_spare();
        assert!(buffer.spare.is_none() && buffer.len() == 16);
    }

    #[test]
    fn no_more_is_offered_than_asked_for() {
        let mut buffer = WriteBuffer::default();
        buffer.push_copy(b"head");
        buffer.push(Bytes::from(vec![1; SHARE_BYTES]));
        let mut slices = [IoSlice::new(&[]); SLICES];
        assert_eq!(buffer.slices(&mut slices, 4), (1, 4));
        assert_eq!(buffer.slices(&mut slices, 10), (2, 10));
        buffer.advance(5);
        assert_eq!(buffer.slices(&mut [IoSlice::new(&[]); SLICES], 7), (1, 7));
    }

    #[test]
    fn a_writers_piece_joins_the_last_one_if_that_has_room_and_its_memory_serves_again() {
        let mut buffer = WriteBuffer::default();
        for text in ["one ", "two ", ""] {
            let mut piece = buffer.blank_piece();
            piece.extend_from_slice(text.as_bytes());
            buffer.push_piece(piece);
        }
        assert_eq!(buffer.chunks.len(), 1);
        assert!(buffer.spare.is_some());
        let mut large = buffer.blank_piece();
        large.resize(10 * COPY_BYTES, b'x');
        let at = large.as_ptr();
        buffer.push_piece(large);
        assert_eq!(buffer.chunks[1].bytes().as_ptr(), at, "not copied");
        assert!(contents(&buffer).starts_with(b"one two xxx"));
    }

    #[test]
    fn what_was_queued_meanwhile_comes_behind() {
        let (mut first, mut second) = (WriteBuffer::default(), WriteBuffer::default());
        first.push_copy(b"first ");
        first.advance(2);
        second.push_copy(b"second");
        first.append(&mut second);
        assert_eq!(contents(&first), b"rst second");
        assert_eq!((first.len(), second.len()), (10, 0));
    }

    #[test]
    fn a_cleared_buffer_is_empty_and_keeps_one_copy() {
        let mut buffer = WriteBuffer::default();
        buffer.push_copy(&vec![1; 3 * COPY_BYTES]);
        buffer.push(Bytes::from(vec![2; SHARE_BYTES]));
        buffer.clear();
        assert!(buffer.is_empty());
        assert!(contents(&buffer).is_empty());
        assert!(buffer.spare.is_some());
    }
}
