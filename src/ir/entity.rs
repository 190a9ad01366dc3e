//! Entity ids and the two maps over them.
//!
//! [`PrimaryMap`] owns entities and hands out their ids; [`SecondaryMap`] annotates entities owned elsewhere, so that a pass's notes
//! never live in the node. Neither derefs to a slice: only the right kind of id indexes a map.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// An id that names one entity of a [`PrimaryMap`].
pub trait EntityId: Copy + Eq + fmt::Debug {
    /// The id at `index`.
    fn from_index(index: usize) -> Self;
    /// The index of this id.
    fn index(self) -> usize;
}

/// Declares an entity id: a 32-bit index whose `Option` is free, printed with a prefix.
macro_rules! entity_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(std::num::NonZeroU32);

        impl $crate::entity::EntityId for $name {
            fn from_index(index: usize) -> Self {
                let one_based = u32::try_from(index + 1).ok().and_then(std::num::NonZeroU32::new);
                Self(one_based.expect("an entity table holds fewer than 2^32 - 1 entries"))
            }

            fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), $crate::entity::EntityId::index(*self))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }
    };
}
pub(crate) use entity_id;

/// A table that owns its entities; ids are given out in order and never reused.
pub struct PrimaryMap<K, V> {
    entries: Vec<V>,
    key: PhantomData<K>,
}

impl<K: EntityId, V> PrimaryMap<K, V> {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            entries: Vec::new(),
            key: PhantomData,
        }
    }

    /// Adds an entity and returns its id.
    pub fn push(&mut self, value: V) -> K {
        self.entries.push(value);
        K::from_index(self.entries.len() - 1)
    }

    /// The entity, or `None` when the id belongs to another table.
    pub fn get(&self, key: K) -> Option<&V> {
        self.entries.get(key.index())
    }

    /// The number of ids given out.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no id was given out.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All ids, in the order in which they were given out.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator + use<K, V> {
        (0..self.entries.len()).map(K::from_index)
    }

    /// All entities with their ids, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> + ExactSizeIterator {
        self.entries
            .iter()
            .enumerate()
            .map(|(index, value)| (K::from_index(index), value))
    }

    /// All entities with their ids, in order, to change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (K, &mut V)> + ExactSizeIterator {
        self.entries
            .iter_mut()
            .enumerate()
            .map(|(index, value)| (K::from_index(index), value))
    }
}

/// A copy is made to be changed: it has room for a quarter more, so that the first entity added does not move all the others.
impl<K, V: Clone> Clone for PrimaryMap<K, V> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.entries.len() + self.entries.len() / 4);
        entries.extend_from_slice(&self.entries);
        Self {
            entries,
            key: PhantomData,
        }
    }
}

impl<K: EntityId, V> FromIterator<V> for PrimaryMap<K, V> {
    fn from_iter<I: IntoIterator<Item = V>>(entities: I) -> Self {
        Self {
            entries: entities.into_iter().collect(),
            key: PhantomData,
        }
    }
}

impl<K: EntityId, V> Default for PrimaryMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: EntityId, V> Index<K> for PrimaryMap<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        &self.entries[key.index()]
    }
}

impl<K: EntityId, V> IndexMut<K> for PrimaryMap<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.entries[key.index()]
    }
}

impl<K: EntityId, V: fmt::Debug> fmt::Debug for PrimaryMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Annotations of entities: every id reads as `default` until it is written.
#[derive(Clone, Debug)]
pub struct SecondaryMap<K, V> {
    entries: Vec<V>,
    default: V,
    key: PhantomData<K>,
}

impl<K: EntityId, V: Clone> SecondaryMap<K, V> {
    /// A map in which every id reads as `default`.
    pub fn with_default(default: V) -> Self {
        Self {
            entries: Vec::new(),
            default,
            key: PhantomData,
        }
    }

    /// [`Self::with_default`], with room for the annotations of this many entities.
    pub fn with_capacity(default: V, capacity: usize) -> Self {
        Self {
            entries: Vec::with_capacity(capacity),
            ..Self::with_default(default)
        }
    }

    /// A map whose ids read as `V::default()`.
    pub fn new() -> Self
    where
        V: Default,
    {
        Self::with_default(V::default())
    }
}

impl<K: EntityId, V: Clone + Default> Default for SecondaryMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: EntityId, V> Index<K> for SecondaryMap<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        self.entries.get(key.index()).unwrap_or(&self.default)
    }
}

impl<K: EntityId, V: Clone> IndexMut<K> for SecondaryMap<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        let index = key.index();
        if index >= self.entries.len() {
            self.entries.resize(index + 1, self.default.clone());
        }
        &mut self.entries[index]
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro makes public ids")]
mod tests {
    use super::*;

    entity_id!(
        /// An id for these tests.
        TestId,
        "t"
    );

    #[test]
    fn ids_are_dense_and_options_are_free() {
        let mut map: PrimaryMap<TestId, &str> = PrimaryMap::new();
        let first = map.push("a");
        let second = map.push("b");
        assert_eq!((first.to_string(), map[second]), ("t0".to_owned(), "b"));
        assert_eq!(size_of::<Option<TestId>>(), 4);
    }

    #[test]
    fn unwritten_annotations_read_as_the_default() {
        let mut notes: SecondaryMap<TestId, u8> = SecondaryMap::with_default(7);
        notes[TestId::from_index(3)] = 1;
        assert_eq!(
            (
                notes[TestId::from_index(1)],
                notes[TestId::from_index(3)],
                notes[TestId::from_index(9)]
            ),
            (7, 1, 7)
        );
    }
}
