//! Interned names: operators, attributes, classes, files.
//!
//! A [`Sym`] is one pointer wide, `Copy`, compares by pointer and orders by text, so that sorted output never depends on the order in
//! which names were met. Names live as long as the process: the set is bounded by the distinct operator, attribute and class names of
//! the files that were read. Names of values are not interned (they differ in every file); see [`crate::Value`].

use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, RwLock};

use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use indexmap::IndexMap;

use crate::{Attr, Literal};

/// An interned name.
#[derive(Clone, Copy)]
pub struct Sym(&'static Entry);

/// A map by name that keeps the order in which names were added. Names hash by address, which nobody outside chooses.
pub type SymMap<V> = IndexMap<Sym, V, FixedState>;

struct Entry {
    text: Arc<str>,
    attr: Attr,
}

static TABLE: LazyLock<RwLock<HashSet<ByText, RandomState>>> = LazyLock::new(RwLock::default);

struct ByText(&'static Entry);

impl Sym {
    /// Interns `text`.
    pub fn new(text: &str) -> Self {
        let read = TABLE
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = read.get(text) {
            return Self(found.0);
        }
        drop(read);
        let mut write = TABLE
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = write.get(text) {
            return Self(found.0);
        }
        let text: Arc<str> = text.into();
        let entry: &'static Entry = Box::leak(Box::new(Entry {
            attr: Literal::Str(Arc::clone(&text)).into(),
            text,
        }));
        write.insert(ByText(entry));
        Self(entry)
    }

    /// The name's text.
    #[inline]
    pub fn as_str(self) -> &'static str {
        &self.0.text
    }

    /// The attribute that holds this name: nodes that have one need no memory for it.
    #[inline]
    pub(crate) fn as_attr(self) -> &'static Attr {
        &self.0.attr
    }
}

impl PartialEq for Sym {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Sym {}

impl Hash for Sym {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

impl PartialOrd for Sym {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Sym {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialEq<str> for Sym {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Sym {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for Sym {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Display for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Sym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl Hash for ByText {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

impl PartialEq for ByText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for ByText {}

impl std::borrow::Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_text_is_one_symbol_and_order_is_by_text() {
        let b = Sym::new("b-first-interned");
        let a = Sym::new("a-later-interned");
        assert_eq!(a, Sym::new("a-later-interned"));
        assert!(a < b);
        assert_eq!(size_of::<Option<Sym>>(), size_of::<usize>());
    }
}
