//! Many short lists in one vector.
//!
//! A list is eight bytes where it is held, and its entries lie with those of other lists, in the order in which lists were made: a graph of
//! many thousand nodes is a few vectors, and is walked, copied and dropped as such. Room is a power of two; that of lists which outgrew it
//! or were cleared is given to others.

/// A list whose entries lie in a [`Lists`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct List {
    start: u32,
    /// How many entries there are; in the upper bits the binary logarithm of the room for them, and one: none when there is no room.
    held: u32,
}

/// What lists hold.
#[derive(Debug)]
pub(crate) struct Lists<T> {
    entries: Vec<T>,
    /// Where there is free room, by the binary logarithm of its size.
    free: Vec<Vec<u32>>,
}

impl List {
    /// Bits of the number of entries.
    const LEN: u32 = 27;

    /// Number of entries.
    #[inline]
    pub(crate) fn len(self) -> usize {
        (self.held & ((1 << Self::LEN) - 1)) as usize
    }

    fn room(self) -> usize {
        (1 << (self.held >> Self::LEN)) >> 1
    }

    #[inline]
    fn start(self) -> usize {
        self.start as usize
    }
}

impl<T: Copy> Lists<T> {
    /// A new list of these entries.
    pub(crate) fn list(&mut self, entries: &[T]) -> List {
        let Some(first) = entries.first() else {
            return List::default();
        };
        let mut list = self.take(entries.len().next_power_of_two(), *first);
        list.held += entries.len() as u32;
        self.get_mut(list).copy_from_slice(entries);
        list
    }

    /// The entries of a list.
    #[inline]
    pub(crate) fn get(&self, list: List) -> &[T] {
        &self.entries[list.start()..][..list.len()]
    }

    /// The entries of a list, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, list: List) -> &mut [T] {
        &mut self.entries[list.start()..][..list.len()]
    }

    /// Adds an entry at the end of a list.
    pub(crate) fn push(&mut self, list: &mut List, entry: T) {
        if list.len() == list.room() {
            self.widen(list, entry);
        }
        self.entries[list.start() + list.len()] = entry;
        list.held += 1;
    }

    /// Removes the last entry of a list.
    pub(crate) fn pop(&mut self, list: &mut List) -> Option<T> {
        let last = self.get(*list).last().copied()?;
        list.held -= 1;
        Some(last)
    }

    /// Removes an entry of a list; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, list: &mut List, index: usize) {
        if let Some(last) = self.pop(list)
            && index < list.len()
        {
            self.get_mut(*list)[index] = last;
        }
    }

    /// Removes an entry of a list; those behind it move up.
    pub(crate) fn remove(&mut self, list: &mut List, index: usize) {
        self.get_mut(*list).copy_within(index + 1.., index);
        self.pop(list);
    }

    /// Removes all entries of a list.
    pub(crate) fn clear(&mut self, list: &mut List) {
        self.give(*list);
        *list = List::default();
    }

    /// Makes room for twice as many entries as a full list has.
    fn widen(&mut self, list: &mut List, filler: T) {
        let mut wide = self.take((2 * list.room()).max(1), filler);
        let (from, len) = (list.start(), list.len());
        self.entries.copy_within(from..from + len, wide.start());
        wide.held += len as u32;
        self.give(*list);
        *list = wide;
    }

    /// An empty list with room for this many entries, a power of two.
    fn take(&mut self, room: usize, filler: T) -> List {
        let class = room.trailing_zeros();
        let held = (class + 1) << List::LEN;
        let free = self.free.get_mut(class as usize);
        if let Some(start) = free.and_then(Vec::pop) {
            return List { start, held };
        }
        let start = u32::try_from(self.entries.len());
        assert!(
            class < List::LEN,
            "a list of a graph holds fewer than 2^27 entries"
        );
        self.entries.resize(self.entries.len() + room, filler);
        List {
            start: start.expect("the lists of a graph hold fewer than 2^32 entries"),
            held,
        }
    }

    /// Leaves the room of a list to others.
    fn give(&mut self, list: List) {
        let class = match list.room() {
            0 => return,
            room => room.trailing_zeros() as usize,
        };
        if self.free.len() <= class {
            self.free.resize(class + 1, Vec::new());
        }
        self.free[class].push(list.start);
    }
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

/// A copy has room to grow, as a copied graph is about to be changed.
impl<T: Copy> Clone for Lists<T> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + self.entries.len() / 4);
        entries.extend_from_slice(&self.entries);
        Self {
            entries,
            free: self.free.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_what_vectors_would_and_room_is_used_again() {
        const LISTS: usize = 7;
        let (mut lists, mut random) = (Lists::default(), 1_u32);
        let mut held = [List::default(); LISTS];
        let mut wanted: [Vec<u32>; LISTS] = Default::default();
        for step in 0..50_000 {
            // The multiplier and the increment are those of Numerical Recipes.
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (random >> 8) as usize % LISTS;
            let (list, vector) = (&mut held[at], &mut wanted[at]);
            let index = (random >> 16) as usize % vector.len().max(1);
            match random >> 29 {
                0..4 if vector.len() < 40 => {
                    lists.push(list, step);
                    vector.push(step);
                }
                4 if !vector.is_empty() => {
                    lists.swap_remove(list, index);
                    vector.swap_remove(index);
                }
                5 if !vector.is_empty() => {
                    lists.remove(list, index);
                    vector.remove(index);
                }
                6 => assert_eq!(lists.pop(list), vector.pop()),
                7 if step % 16 == 0 => {
                    lists.clear(list);
                    vector.truncate(index);
                    *list = lists.list(vector);
                }
                _ => {}
            }
            for (list, vector) in held.iter().zip(&wanted) {
                assert_eq!(lists.get(*list), vector);
            }
        }
        // Room of each size that was ever needed at once, and no more.
        assert!(
            lists.entries.len() <= LISTS * 128,
            "{}",
            lists.entries.len()
        );
    }
}
