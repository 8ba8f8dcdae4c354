//! Memory that lies alike for everybody.

use bytes::Bytes;

use super::PIECE;

/// What processors compare of two addresses when they look whether a load depends on a store.
const PAGE: usize = 4096;

/// One piece, at the beginning of a page.
///
/// Copies between kernel and program are up to seven times slower where target and source lie a few bytes apart in their pages,
/// and a connection that always moves whole pieces stays in that. Where an allocator happens to put a piece must not decide who
/// wins.
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(super) fn new() -> Aligned {
        let memory = vec![b'x'; PIECE + PAGE];
        let start = memory.as_ptr().align_offset(PAGE);
        Aligned { memory, start }
    }

    pub(super) fn piece(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + PIECE]
    }

    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from(self.memory).slice(self.start..self.start + PIECE)
    }
}
