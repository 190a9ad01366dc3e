//! Where a payload lies that does not follow its order.

use serde::{Deserialize, Serialize};

/// A part of the worker's arena: a file that the pool has written the payload to. It is the worker's until it is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Where it begins, in bytes.
    pub offset: u32,
    /// How long it is, in bytes.
    pub length: u32,
}

impl Region {
    /// Whether all of another one is in it.
    pub(crate) fn contains(self, other: Self) -> bool {
        self.offset <= other.offset && other.end() <= self.end()
    }

    /// Where it ends; beyond every arena, if it would be beyond every number.
    pub(crate) fn end(self) -> u32 {
        self.offset.saturating_add(self.length)
    }
}
