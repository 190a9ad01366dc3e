//! Payloads that stand outside the text.

use bytes::Bytes;
use indexmap::IndexMap;

/// Payloads by name: where the text says `dense<…>@name`, the elements are the blob `name`.
///
/// A blob holds a tensor's elements in the order of memory, little endian, as the strides of its type say.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    by_name: IndexMap<String, Bytes>,
}

impl Blobs {
    /// No payloads.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a payload, in place of the one that has this name.
    pub fn insert(&mut self, name: &str, payload: Bytes) {
        self.by_name.insert(name.to_owned(), payload);
    }

    /// The payload with this name.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.by_name.get(name)
    }

    /// All payloads with their names, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Bytes)> {
        self.by_name
            .iter()
            .map(|(name, payload)| (name.as_str(), payload))
    }

    /// Number of payloads.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no payload.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
