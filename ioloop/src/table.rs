//! A table with stable places, in pieces: it grows without moving anything, and gives back what a crowd has left behind.
//!
//! ```text
//!   pieces    ┌─────────────┐ ┌─────────────┐ ┌─────────────┐
//!   128 each  │▒▒▒▒▒▒▒▒▒▒▒▒▒│ │▒▒▒ ▒▒  ▒▒▒▒▒│ │             │ ◀── its memory is kept: one that is empty, no more
//!             └─────────────┘ └─────────────┘ └─────────────┘
//!   has room        0               1               1            a bit each; what comes takes the first such place
//! ```
//!
//! One growing `Vec` would hold up to twice what is in it, three times while it grows, and its most for ever.

use crate::trim::move_to_fit;

/// Places of a piece. A power of two.
const PIECE: usize = 128;

/// The end of a piece's list of free places.
const NONE: u8 = u8::MAX;

const _: () = assert!(PIECE.is_power_of_two() && PIECE <= NONE as usize);

pub(crate) struct Table<T> {
    pieces: Vec<Piece<T>>,
    /// A bit for each piece that has room.
    has_room: Vec<u64>,
    /// No word before this one has a bit set.
    first_room: usize,
    /// An empty piece whose memory is kept, so that one that comes and goes at the edge costs no allocation.
    kept: Option<usize>,
    len: usize,
}

struct Piece<T> {
    /// Grows to its end and never moves. Without memory while nothing is in it.
    entries: Vec<Entry<T>>,
    /// The place that was freed last.
    free: u8,
    used: u8,
}

enum Entry<T> {
    Taken(T),
    /// With the place that was freed before this one.
    Free(u8),
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Table<T> {
        Table { pieces: Vec::new(), has_room: Vec::new(), first_room: 0, kept: None, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts `value` in, at the lowest piece that has room, and gives its place.
    ///
    /// # Panics
    ///
    /// When there is no number of 32 bits left for a place.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.piece_with_room();
        let piece = &mut self.pieces[number];
        let at = piece.insert(value);
        if piece.is_full() {
            self.has_room[number / 64] &= !(1 << (number % 64));
        }
        if self.kept == Some(number) {
            self.kept = None;
        }
        self.len += 1;
        u32::try_from(number * PIECE + at).expect("fewer than 2^32 places")
    }

    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        match self.pieces.get(place as usize / PIECE)?.entries.get(place as usize % PIECE)? {
            Entry::Taken(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        match self.pieces.get_mut(place as usize / PIECE)?.entries.get_mut(place as usize % PIECE)? {
            Entry::Taken(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let number = place as usize / PIECE;
        let piece = self.pieces.get_mut(number)?;
        let value = piece.remove(place as usize % PIECE)?;
        self.len -= 1;
        self.has_room[number / 64] |= 1 << (number % 64);
        self.first_room = self.first_room.min(number / 64);
        if self.pieces[number].used == 0 {
            self.note_empty(number);
        }
        Some(value)
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let pieces = std::mem::replace(self, Table::new()).pieces;
        pieces.into_iter().flat_map(|piece| piece.entries).filter_map(|entry| match entry {
            Entry::Taken(value) => Some(value),
            Entry::Free(_) => None,
        })
    }

    fn piece_with_room(&mut self) -> usize {
        let from = self.first_room;
        if let Some(behind) = self.has_room[from..].iter().position(|word| *word != 0) {
            self.first_room = from + behind;
            return self.first_room * 64 + self.has_room[self.first_room].trailing_zeros() as usize;
        }
        let number = self.pieces.len();
        self.pieces.push(Piece { entries: Vec::new(), free: NONE, used: 0 });
        if self.has_room.len() * 64 == number {
            self.has_room.push(0);
        }
        self.first_room = number / 64;
        self.has_room[number / 64] |= 1 << (number % 64);
        number
    }

    /// Gives the memory of an empty piece back, unless it is the only such.
    fn note_empty(&mut self, number: usize) {
        // The lower one is used sooner.
        let (kept, given_back) = match self.kept {
            Some(other) => (other.min(number), other.max(number)),
            None => {
                self.kept = Some(number);
                return;
            }
        };
        self.kept = Some(kept);
        self.give_back(given_back);
    }

    /// Gives the memory of the empty piece back that is kept, and moves the lists of pieces to memory of just their size.
    pub(crate) fn shrink_to_fit(&mut self) {
        if let Some(kept) = self.kept.take() {
            self.give_back(kept);
        }
        move_to_fit(&mut self.pieces);
        move_to_fit(&mut self.has_room);
    }

    fn give_back(&mut self, number: usize) {
        self.pieces[number].clear();
        while self.pieces.last().is_some_and(|piece| piece.entries.capacity() == 0) {
            self.pieces.pop();
            let number = self.pieces.len();
            self.has_room[number / 64] &= !(1 << (number % 64));
        }
        self.has_room.truncate(self.pieces.len().div_ceil(64));
        self.first_room = self.first_room.min(self.has_room.len());
        // Rarely, and by half at least.
        if self.pieces.len() < self.pieces.capacity() / 4 {
            self.pieces.shrink_to(2 * self.pieces.len());
            self.has_room.shrink_to(2 * self.has_room.len());
        }
    }

    /// Places that have memory.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.pieces.iter().map(|piece| piece.entries.capacity()).sum()
    }
}

impl<T> std::ops::Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        self.get(place).expect("a place that is taken")
    }
}

impl<T> std::ops::IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        self.get_mut(place).expect("a place that is taken")
    }
}

impl<T> Piece<T> {
    fn is_full(&self) -> bool {
        usize::from(self.used) == PIECE
    }

    fn insert(&mut self, value: T) -> usize {
        self.used += 1;
        if self.free == NONE {
            if self.entries.capacity() == 0 {
                self.entries.reserve_exact(PIECE);
            }
            self.entries.push(Entry::Taken(value));
            return self.entries.len() - 1;
        }
        let at = usize::from(self.free);
        if let Entry::Free(next) = std::mem::replace(&mut self.entries[at], Entry::Taken(value)) {
            self.free = next;
        }
        at
    }

    fn remove(&mut self, at: usize) -> Option<T> {
        let entry = self.entries.get_mut(at).filter(|entry| matches!(entry, Entry::Taken(_)))?;
        let taken = std::mem::replace(entry, Entry::Free(self.free));
        self.free = at as u8;
        self.used -= 1;
        match taken {
            Entry::Taken(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    fn clear(&mut self) {
        *self = Piece { entries: Vec::new(), free: NONE, used: 0 };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random::Random;

    #[test]
    fn what_is_in_stays_where_it_is_against_a_naive_model() {
        let mut model = BTreeMap::new();
        let mut table = Table::new();
        let random = Random::seeded(11);
        for round in 0..200_000_u32 {
            // Waves, so that pieces fill and empty.
            let grows = (round / 20_000) % 2 == 0;
            if (random.below(8) < 5) == grows || model.is_empty() {
                let place = table.insert(round);
                assert_eq!(model.insert(place, round), None, "the place was free");
            } else {
                let near = random.below(*model.keys().last().unwrap() as usize + 1) as u32;
                let place = *model.range(near..).next().unwrap().0;
                assert_eq!(table.get(place).copied(), model.get(&place).copied());
                assert_eq!(table.remove(place), model.remove(&place));
                assert!(table.get(place).is_none() && table.remove(place).is_none());
            }
            assert_eq!(table.len(), model.len());
        }
        assert!(model.iter().all(|(place, value)| table[*place] == *value));
        assert_eq!(table.drain().collect::<Vec<_>>().len(), model.len());
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_crowd_that_is_gone_leaves_one_piece_and_who_was_there_before_stays() {
        let mut table = Table::new();
        let before: Vec<_> = (0..200).map(|n| table.insert(n)).collect();
        let held = table.capacity();
        for _ in 0..3 {
            let crowd: Vec<_> = (0..100_000).map(|n| table.insert(n)).collect();
            assert!(table.capacity() <= 100_200 + PIECE, "no more than what is in it, and a piece");
            for place in crowd {
                assert!(table.remove(place).is_some());
            }
            assert_eq!(table.capacity(), held + PIECE);
            assert!(table.pieces.capacity() <= 64 && table.has_room.capacity() <= 64);
            table.shrink_to_fit();
            assert_eq!(table.capacity(), held);
        }
        assert!(before.iter().zip(0..).all(|(place, n)| table[*place] == n));
    }

    #[test]
    fn one_that_comes_and_goes_at_the_edge_of_a_piece_costs_no_allocation() {
        let mut table = Table::new();
        for n in 0..PIECE {
            table.insert(n);
        }
        let place = table.insert(0);
        let memory = table.pieces[1].entries.as_ptr();
        for _ in 0..10 {
            table.remove(place);
            assert_eq!(table.insert(0), place);
            assert_eq!(table.pieces[1].entries.as_ptr(), memory);
        }
    }

    #[test]
    fn the_lowest_piece_with_room_is_taken_so_that_the_highest_become_empty() {
        let mut table = Table::new();
        for n in 0..10 * PIECE {
            table.insert(n);
        }
        table.remove(700);
        table.remove(5);
        assert_eq!(table.insert(0), 5);
        assert_eq!(table.insert(0), 700);
    }
}
