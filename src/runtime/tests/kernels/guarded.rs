//! Memory that ends where it ends: one byte behind it there is no page.

use std::ops::{Deref, DerefMut};

use memmap2::{MmapMut, MmapOptions};

const PAGE: usize = 4096;

/// Bytes whose end is the end of a file's last page. The mapping goes on behind it, where any access is a bus error, so that a kernel
/// that reads or writes too far ends the test.
pub(crate) struct Guarded {
    mapping: MmapMut,
    begin: usize,
    end: usize,
}

impl Guarded {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let end = bytes.len().next_multiple_of(PAGE);
        let file = tempfile::tempfile().unwrap();
        file.set_len(end as u64).unwrap();
        // SAFETY: nobody else has the file; what lies behind its end is never touched through the slices that are given out.
        let mapping = unsafe { MmapOptions::new().len(end + PAGE).map_copy(&file) }.unwrap();
        let mut guarded = Self {
            mapping,
            begin: end - bytes.len(),
            end,
        };
        guarded.copy_from_slice(bytes);
        guarded
    }

    /// `count` times the same byte.
    pub(crate) fn filled(byte: u8, count: usize) -> Self {
        Self::new(&vec![byte; count])
    }
}

impl Deref for Guarded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.mapping[self.begin..self.end]
    }
}

impl DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.mapping[self.begin..self.end]
    }
}
