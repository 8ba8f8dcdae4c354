//! How pages that a crowd has left behind come back to the operating system, without a word to the allocator.
//!
//! glibc gives back the end of its heap alone, and keeps 128 KiB even of that. A single small block near the end keeps all pages
//! before it, and when a crowd has left two kinds of such blocks remain: lists that live on and were moved there while they grew,
//! and freed blocks that a thread keeps for its next use, the first few of each size. So lists are moved, and those blocks are merged
//! with what is free around them; and what is kept of the end is memory that nobody has written to. Another allocator sees some
//! thousand blocks come and go.
//!
//! ```text
//!   a few are here        ▒▒▒▒▒▒▒▒│      reserve      │
//!   a crowd is            ▒▒▒▒▒▒▒▒│      reserve      │▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
//!   it has left           ▒▒▒▒    │      reserve      │▒▒▒ 128 KiB ▒▒▒│
//!   the reserve goes too  ▒▒▒▒         128 KiB        │                   and is taken anew from the beginning of that
//! ```

use std::array;
use std::hint::black_box;

/// How many freed blocks of a size a thread keeps.
const KEPT: usize = 7;
/// The sizes of which it keeps some: 24, 40, 56 and so on.
const SIZES: usize = 64;
/// So much larger than the largest of them that what is left when one is cut from it is not kept either.
const NOT_KEPT_BYTES: usize = 2 * 1024 + 128;
/// To free a block that is as large sets glibc to merging what it has put off, and to looking at the end of its heap. Below
/// what it maps by itself.
const LARGE_BYTES: usize = 96 * 1024;
/// Most of what is kept of the heap's end; not mapped by itself either.
const RESERVE_BYTES: usize = 124 * 1024;
/// Found in no small hole amid what is to be given back, but in one that the first of a crowd and buffers have left.
const ROOM_BYTES: usize = 32 * 1024;

/// Memory that is taken before a crowd comes and never written to, so that there are no pages in it. It does nothing where something
/// that lives on lies behind it.
pub(crate) struct Reserve {
    _memory: Vec<u8>,
}

impl Reserve {
    pub(crate) fn new() -> Reserve {
        Reserve { _memory: black_box(Vec::with_capacity(RESERVE_BYTES)) }
    }
}

/// Moves what is in `list` to memory of just its size. Shrunk, it would stay where it is.
pub(crate) fn move_to_fit<T>(list: &mut Vec<T>) {
    let mut moved = Vec::new();
    if !list.is_empty() {
        // Nothing is written to what is too much.
        moved.reserve_exact(list.len() + ROOM_BYTES / size_of::<T>().max(1));
        moved.append(list);
        moved.shrink_to_fit();
    }
    *list = moved;
}

/// Has what is free be one with what is free beside it, and its end given back. Takes a fifth of a millisecond, and what the
/// operating system needs for the pages.
pub(crate) fn merge_free_memory() {
    // Twice, because what is beside a block that is in use now, or comes out of the bins, is kept once more.
    for _ in 0..2 {
        free_a_large_block();
        for number in 0..SIZES {
            merge_kept_blocks(24 + 16 * number);
        }
    }
    free_a_large_block();
}

/// A block that a thread would keep is merged when it is freed while as many others are kept. The others are cut from larger ones, so
/// that there is room behind each: there it grows back, is too large to be kept, and is merged too.
fn merge_kept_blocks(bytes: usize) {
    let some = |bytes| array::from_fn::<_, KEPT, _>(|_| black_box(Vec::<u8>::with_capacity(bytes)));
    let kept = some(bytes);
    let mut others = some(NOT_KEPT_BYTES);
    others.iter_mut().for_each(|block| block.shrink_to(bytes));
    drop(others);
    drop(kept);
    for mut other in some(bytes) {
        other.reserve_exact(NOT_KEPT_BYTES);
    }
}

fn free_a_large_block() {
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BYTES)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_is_moved_to_fit_is_the_same_in_memory_of_its_size() {
        let mut list = Vec::with_capacity(1_000);
        list.extend(0..100);
        let before = list.as_ptr();
        move_to_fit(&mut list);
        assert!(list.capacity() == 100 && list.iter().copied().eq(0..100));
        assert_ne!(list.as_ptr(), before);
        list.clear();
        move_to_fit(&mut list);
        assert_eq!(list.capacity(), 0);
    }
}
