//! A file in memory through which two processes give each other bytes, mapped by both.

#![expect(
    unsafe_code,
    reason = "only who knows when the pool writes can say that mapped bytes do not change; the laws stand in `arena.rs`"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::SealFlags;

/// A mapping of the whole file for who says what of it the other one has.
#[derive(Debug)]
pub(crate) struct Slate(MmapRaw);

/// A mapping of the whole file for who has parts of it.
#[derive(Debug)]
pub(crate) struct Window(Arc<MmapRaw>);

/// Some of its bytes, which the other process has lent to this one.
#[derive(Debug)]
pub(crate) struct Pane {
    window: Arc<MmapRaw>,
    start: usize,
    length: usize,
}

impl Slate {
    /// Maps a file that cannot become shorter.
    pub(crate) fn onto(file: impl AsFd) -> io::Result<Self> {
        Ok(Self(map(file)?))
    }

    /// Writes bytes there, if there is room. Nobody may have been lent what they replace.
    pub(crate) fn write(&mut self, start: usize, bytes: &[u8]) -> Option<()> {
        // SAFETY: `bytes` are somewhere else: this process makes no reference into the mapping. A reference into another mapping
        // of the file, as the worker makes, is only to what is lent, and this is not.
        unsafe { put(&self.0, start, bytes) }
    }

    /// A copy of what the other process has put there, if it is inside.
    pub(crate) fn read(&self, start: usize, length: usize) -> Option<Vec<u8>> {
        if start.checked_add(length)? > self.0.len() {
            return None;
        }
        let mut bytes = Vec::with_capacity(length);
        // SAFETY: The range is inside of the mapping, which is backed by the file to its end. `bytes` has room for it, and is elsewhere.
        // No reference into the mapping is made. Should the other process write there meanwhile, which it has no reason to, the copy has
        // some of its bytes, and any bytes are bytes: nothing is believed of them before they are here, where they do not change any more.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0.as_ptr().add(start), bytes.as_mut_ptr(), length);
            bytes.set_len(length);
        }
        Some(bytes)
    }
}

impl Window {
    /// Maps a file that cannot become shorter.
    pub(crate) fn onto(file: impl AsFd) -> io::Result<Self> {
        Ok(Self(Arc::new(map(file)?)))
    }

    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }

    /// Where bytes lie in it, if they do.
    pub(crate) fn place_of(&self, bytes: &[u8]) -> Option<usize> {
        let start = bytes.as_ptr().addr().checked_sub(self.0.as_ptr().addr())?;
        (start.checked_add(bytes.len())? <= self.length()).then_some(start)
    }

    /// Writes bytes there, if there is room. It must have been lent to this process, and every pane of it must be gone.
    pub(crate) fn write(&mut self, start: usize, bytes: &[u8]) -> Option<()> {
        // SAFETY: References into the mapping are made by panes alone, and there is none here: who calls has seen the last one go. So
        // `bytes`, which are not there either, do not overlap it. The pool neither writes there nor reads before it is told.
        unsafe { put(&self.0, start, bytes) }
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
        // to its end, since the file cannot become shorter. It is readable, and this process writes there when no pane of it is left. The pool, which is
        // the same program in the same version and the only other one that has the file, has written the bytes before it sent the order
        // that lends them, and does not touch them until this process has sent word that it no longer looks, which it does when this value
        // and all its copies are gone (`view.rs`). What is lent overlaps nothing else that is lent.
        unsafe { std::slice::from_raw_parts(self.window.as_ptr().add(self.start), self.length) }
    }
}

/// Whether a file cannot become shorter: to touch what was cut off of a mapped one would be deadly.
pub(crate) fn keeps_its_length(file: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(file).is_ok_and(|seals| seals.contains(SealFlags::SHRINK))
}

fn map(file: impl AsFd) -> io::Result<MmapRaw> {
    let file = file.as_fd();
    if !keeps_its_length(file) {
        return Err(io::Error::other("the file may become shorter"));
    }
    MmapOptions::new().map_raw(file.as_raw_fd())
}

/// Writes bytes to a mapping, if there is room.
///
/// # Safety
/// `bytes` do not overlap what they replace, and nobody has a reference to that.
unsafe fn put(to: &MmapRaw, start: usize, bytes: &[u8]) -> Option<()> {
    if start.checked_add(bytes.len())? > to.len() {
        return None;
    }
    // SAFETY: The range is inside of the mapping, which can be written to, and is backed by the file to its end, since that cannot
    // become shorter. The rest is the caller's word.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_mut_ptr().add(start), bytes.len());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_become_shorter_is_not_mapped() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create("test", flags).expect("a file in memory");
        rustix::fs::ftruncate(&file, 4096).expect("it grows");
        assert!(Window::onto(&file).is_err() && Slate::onto(&file).is_err());
        let null = std::fs::File::open("/dev/null").expect("it is there");
        assert!(Window::onto(&null).is_err());
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).expect("it is sealed");
        let window = Window::onto(&file).expect("a window");
        let mut slate = Slate::onto(&file).expect("a slate");
        assert!(slate.write(4095, &[7]).is_some() && slate.write(4096, &[]).is_some());
        assert!(slate.write(4095, &[7, 8]).is_none() && slate.write(4097, &[]).is_none());
        assert_eq!(window.pane(4095, 1).expect("it is inside").as_ref(), [7]);
        assert!(window.pane(4095, 2).is_none() && window.pane(usize::MAX, 1).is_none());
    }
}
