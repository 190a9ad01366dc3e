//! A file in memory that another process fills, mapped for reading.

#![expect(
    unsafe_code,
    reason = "only who knows when the other process writes can say that mapped bytes do not change; the laws stand in `arena.rs`"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::SealFlags;

/// A mapping of the whole file.
#[derive(Debug)]
pub(crate) struct Window(Arc<MmapRaw>);

/// Some of its bytes, which the other process has lent to this one.
#[derive(Debug)]
pub(crate) struct Pane {
    window: Arc<MmapRaw>,
    start: usize,
    length: usize,
}

impl Window {
    /// Maps a file that is sealed against becoming shorter: to read what was cut off would be deadly. Others are refused.
    pub(crate) fn onto(file: impl AsFd) -> io::Result<Self> {
        let file = file.as_fd();
        if !rustix::fs::fcntl_get_seals(file)?.contains(SealFlags::SHRINK) {
            return Err(io::Error::other("the file may become shorter"));
        }
        let mapping = MmapOptions::new().map_raw_read_only(file.as_raw_fd())?;
        Ok(Self(Arc::new(mapping)))
    }

    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// Bytes of it, if it is long enough. For those that were lent, and until they are returned.
    pub(crate) fn pane(&self, start: usize, length: usize) -> Option<Pane> {
        (start.checked_add(length)? <= self.length()).then(|| Pane {
            window: Arc::clone(&self.0),
            start,
            length,
        })
    }
}

impl AsRef<[u8]> for Pane {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `pane` has found the range inside the mapping, which is there as long as this value holds it, and is backed by the file
        // to its end, since the file cannot become shorter. It is readable, and this process has no way to write to it. The pool, which is
        // the same program in the same version and the only other one that has the file, has written the bytes before it sent the order
        // that lends them, and does not touch them until this process has sent word that it no longer looks, which it does when this value
        // and all its copies are gone (`view.rs`). What is lent overlaps nothing else that is lent.
        unsafe { std::slice::from_raw_parts(self.window.as_ptr().add(self.start), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_become_shorter_is_not_mapped() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("test", flags).expect("a file in memory");
        rustix::fs::ftruncate(&file, 4096).expect("it grows");
        assert!(Window::onto(&file).is_err());
        let null = std::fs::File::open("/dev/null").expect("it is there");
        assert!(Window::onto(&null).is_err());
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).expect("it is sealed");
        let window = Window::onto(&file).expect("a window");
        assert_eq!(window.pane(4095, 1).expect("it is inside").as_ref(), [0]);
        assert!(window.pane(4095, 2).is_none() && window.pane(usize::MAX, 1).is_none());
    }
}
