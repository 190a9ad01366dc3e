//! Memory of one worker in which large payloads lie: they are copied once, where a socket copies them twice.
//!
//! It is an unnamed file of fixed length. The pool maps it and writes to it; the worker gets it as standard output, which it has no other use
//! for, and [maps it for reading](crate::view). Each of them does so when the first payload comes: most workers never see one. An order says
//! where its payload lies ([`Region`]). The laws:
//!
//! - A region is the worker's from the order that names it until the worker [returns](FrameKind::Returned) it, which it does when nothing
//!   there reads it any more. Until then the pool writes nothing there, so that the worker may look at it as bytes that do not change.
//! - What a job made may come the same way: a worker that does not read the payload any more may put the result in its place, and says so
//!   ([`FrameKind::Placed`]) before it returns the region. The pool copies it and believes nothing of it before: what a worker writes there can
//!   harm that worker's own jobs and nobody else.
//! - It belongs to one worker and goes with it. Its pages are there from the first payload on, and are given back when none was there
//!   for a second.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, SealFlags};
use rustix::process::{Resource, getrlimit};

use crate::os::{self, Slate};
use crate::wire::{FrameKind, Region, WireError};

/// What the system shows it as.
const NAME: &str = "planish-arena";
/// Its length: room for several payloads, of which some are sent ahead. What finds no room goes by the socket.
const LENGTH: usize = 8 << 20;
/// Payloads and results below this go by the socket.
pub(crate) const LARGE: usize = 64 << 10;
/// Where regions begin.
const PAGE: usize = 4 << 10;
/// How long it keeps its pages when no payload is there.
const KEPT: Duration = Duration::from_secs(1);

/// The pool's end.
#[derive(Debug)]
pub(crate) struct Arena {
    file: File,
    /// Its mapping, from the first payload on.
    slate: Option<Slate>,
    /// What the worker has, by where it begins.
    lent: Vec<Lent>,
    /// How far it was ever written to since its pages were given back.
    touched: usize,
    /// Since when nothing is lent, while there are pages.
    unused_since: Option<Instant>,
}

#[derive(Debug)]
struct Lent {
    job: u64,
    start: usize,
    end: usize,
}

impl Arena {
    pub(crate) fn new() -> io::Result<Self> {
        // Beyond this limit a file is not made longer, and who tries is killed.
        if getrlimit(Resource::Fsize)
            .current
            .is_some_and(|most| most < LENGTH as u64)
        {
            return Err(rustix::io::Errno::FBIG.into());
        }
        let file = os::file_in_memory(NAME)?;
        file.set_len(LENGTH as u64)?;
        // A mapping of what was cut off kills who reads there.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(Self {
            file,
            slate: None,
            lent: Vec::new(),
            touched: 0,
            unused_since: None,
        })
    }

    /// What the worker is given.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Puts the payload of a job there, if it is large and there is room.
    pub(crate) fn lend(&mut self, job: u64, payload: &[u8]) -> Option<Region> {
        if payload.len() < LARGE {
            return None;
        }
        let (index, start) = self.gap(payload.len())?;
        let end = start + payload.len();
        let slate = match &mut self.slate {
            Some(slate) => slate,
            none => none.insert(Slate::onto(&self.file).ok()?),
        };
        self.touched = self.touched.max(end);
        slate.write(start, payload)?;
        self.lent.insert(index, Lent { job, start, end });
        self.unused_since = None;
        // It is far below 4 GiB long.
        let (offset, length) = (start as u32, payload.len() as u32);
        Some(Region { offset, length })
    }

    /// What a job made, which its worker has put into what was lent for it.
    pub(crate) fn result(&self, job: u64, region: Region) -> Option<Bytes> {
        let mut lent = self.lent.iter();
        let (start, end) = (region.offset as usize, region.end() as usize);
        lent.find(|lent| lent.job == job && lent.start <= start && end <= lent.end)?;
        let bytes = self.slate.as_ref()?.read(start, region.length as usize)?;
        Some(bytes.into())
    }

    /// Takes back what was lent for a job.
    pub(crate) fn take_back(&mut self, job: u64) -> Result<(), WireError> {
        let lent = self.lent.iter().position(|lent| lent.job == job);
        self.lent.remove(lent.ok_or_else(|| never_lent(job))?);
        if self.lent.is_empty() {
            self.unused_since = Some(Instant::now());
        }
        Ok(())
    }

    /// When [`Self::give_back_pages`] is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.unused_since?.checked_add(KEPT)
    }

    /// Gives its pages back to the system.
    pub(crate) fn give_back_pages(&mut self) {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // What is not given back is used again, or goes with the worker.
        let _ = rustix::fs::fallocate(&self.file, flags, 0, self.touched as u64);
        self.touched = 0;
        self.unused_since = None;
    }

    /// The first place of this length that nobody has: pages that were just used are used again.
    fn gap(&self, length: usize) -> Option<(usize, usize)> {
        let mut start: usize = 0;
        for (index, lent) in self.lent.iter().enumerate() {
            if lent.start - start >= length {
                return Some((index, start));
            }
            start = lent.end.next_multiple_of(PAGE);
        }
        (LENGTH.checked_sub(start)? >= length).then_some((self.lent.len(), start))
    }
}

/// What a worker says that returns what it does not have.
pub(crate) fn never_lent(job: u64) -> WireError {
    WireError::Unexpected {
        expected: "the return of a payload that was lent",
        got: FrameKind::Returned,
        job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arena() -> Arena {
        Arena::new().expect("an arena")
    }

    fn pages(arena: &Arena) -> u64 {
        use std::os::unix::fs::MetadataExt;
        arena.file.metadata().expect("it is open").blocks()
    }

    #[test]
    fn regions_do_not_overlap_and_the_first_place_is_used_again() {
        let mut arena = arena();
        let payload = vec![1; LARGE + 1];
        let mut lend = |job| arena.lend(job, &payload).expect("there is room").offset;
        let (first, second, third) = (lend(1), lend(2), lend(3));
        let step = (LARGE + 1).next_multiple_of(PAGE) as u32;
        assert_eq!((first, second, third), (0, step, 2 * step));
        arena.take_back(2).expect("it was lent");
        let larger = vec![2; 2 * LARGE];
        let place = arena.lend(4, &larger).expect("there is room");
        assert_eq!(place.offset, 3 * step);
        let again = arena.lend(5, &payload).expect("there is room");
        assert_eq!(again.offset, second);
    }

    #[test]
    fn what_is_small_or_finds_no_room_goes_another_way() {
        let mut arena = arena();
        assert_eq!(arena.lend(1, &vec![0; LARGE - 1]), None);
        assert_eq!(arena.lend(1, &vec![0; LENGTH + 1]), None);
        let whole = vec![7; LENGTH];
        assert!(arena.lend(2, &whole).is_some());
        assert_eq!(arena.lend(3, &vec![0; LARGE]), None);
        arena.take_back(2).expect("it was lent");
        assert!(arena.lend(3, &vec![0; LARGE]).is_some());
    }

    #[test]
    fn what_was_not_lent_cannot_be_returned() {
        let mut arena = arena();
        assert_eq!(arena.take_back(1), Err(never_lent(1)));
        arena.lend(1, &vec![0; LARGE]).expect("there is room");
        assert_eq!(arena.take_back(2), Err(never_lent(2)));
        assert_eq!(arena.take_back(1), Ok(()));
        assert_eq!(arena.take_back(1), Err(never_lent(1)));
    }

    #[test]
    fn pages_are_kept_while_something_is_lent_and_given_back_later() {
        let mut arena = arena();
        assert_eq!((pages(&arena), arena.due()), (0, None));
        arena.lend(1, &vec![1; LARGE]).expect("there is room");
        arena.lend(2, &vec![2; LARGE]).expect("there is room");
        arena.take_back(1).expect("it was lent");
        assert_eq!(arena.due(), None);
        arena.take_back(2).expect("it was lent");
        assert!(arena.due().is_some() && pages(&arena) > 0);
        arena.give_back_pages();
        assert_eq!((pages(&arena), arena.due()), (0, None));
    }

    #[test]
    fn nobody_makes_it_shorter() {
        assert!(arena().file.set_len(0).is_err());
    }
}
