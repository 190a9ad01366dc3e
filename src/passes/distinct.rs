//! Things that differ from each other, found by a hash of what they are.

use std::collections::HashMap;

use foldhash::fast::FixedState;

/// Things by number. A thing stands at its hash; of two with one hash, the later stands at the next number that is free.
#[derive(Debug)]
pub(crate) struct Distinct<T>(HashMap<u64, T, FixedState>);

impl<T> Distinct<T> {
    /// The thing with this hash that `is_equal` to the one asked for, or else the number at which that would stand.
    pub(crate) fn find(&self, hash: u64, is_equal: impl Fn(&T) -> bool) -> Result<&T, u64> {
        let mut number = hash;
        while let Some(thing) = self.0.get(&number) {
            if is_equal(thing) {
                return Ok(thing);
            }
            number = number.wrapping_add(1);
        }
        Err(number)
    }

    /// Puts a thing where [`Self::find`] has said that it would stand.
    pub(crate) fn insert(&mut self, number: u64, thing: T) {
        self.0.insert(number, thing);
    }
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_hash_stands_beside_it() {
        let mut distinct = Distinct::default();
        for word in ["a", "b"] {
            let number = distinct.find(7, |known| *known == word).unwrap_err();
            distinct.insert(number, word);
        }
        assert_eq!(distinct.find(7, |known| *known == "b"), Ok(&"b"));
        assert_eq!(distinct.find(7, |known| *known == "c"), Err(9));
    }
}
