//! One maker for each entry, also among processes.
//!
//! ```text
//! <directory>/v1/claims/<64 hex>    locked by who makes the entry; holds how it failed, if it did
//! ```
//!
//! The lock belongs to the open file, so it ends with its owner, however that ends. Who waits looks
//! again after a while, and finds the entry, or the failure, or that it is now its own turn.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};

use super::Cache;
use crate::hash::JobKey;
use crate::wire::Failure;

/// Longest record of a failure that is read back.
const MOST: u64 = 256 << 10;

/// The right to make one entry, as long as it is held.
#[derive(Debug)]
pub(crate) struct Claim {
    file: File,
    path: PathBuf,
}

/// What came of asking for a claim.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// It is ours. The failure is that of the owner that we waited for.
    Ours(Claim, Option<Failure>),
    /// Somebody else makes the entry.
    Theirs,
}

impl Cache {
    /// Asks for the right to make the entry of `key`. Who has `waited` was refused it before, and is told how its owner failed: each
    /// begins with an empty file, so that what is there now was written meanwhile.
    pub(crate) fn claim(&self, key: &JobKey, waited: bool) -> io::Result<Claimed> {
        let path = self.root.join("claims").join(key.to_string());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        loop {
            let mut file = File::from(rustix::fs::openat(CWD, &path, flags, mode)?);
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(Claimed::Theirs),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // The owner before us may have removed the file that we had opened already.
            let there = fs::symlink_metadata(&path).ok().map(|there| there.ino());
            if there != Some(file.metadata()?.ino()) {
                continue;
            }
            let failure = waited.then(|| read_failure(&mut file)).flatten();
            file.set_len(0)?;
            return Ok(Claimed::Ours(Claim { file, path }, failure));
        }
    }
}

impl Claim {
    /// Ends the claim, and tells who waits for it how the job failed.
    pub(crate) fn release_with(mut self, failure: &Failure) {
        // Who cannot be told tries for itself.
        if let Ok(record) = postcard::to_stdvec(failure) {
            let _ = self.file.write_all(&record);
        }
    }

    /// Ends the claim: the entry is there, or whoever waits may try.
    pub(crate) fn release(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn read_failure(file: &mut File) -> Option<Failure> {
    let mut record = Vec::new();
    file.take(MOST).read_to_end(&mut record).ok()?;
    postcard::from_bytes(&record).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::{KEY, store};
    use crate::remains::Remains;

    fn ours(claimed: io::Result<Claimed>) -> (Claim, Option<Failure>) {
        match claimed.expect("a claim") {
            Claimed::Ours(claim, failure) => (claim, failure),
            Claimed::Theirs => panic!("it is somebody else's"),
        }
    }

    #[test]
    fn a_claim_is_one_owners_until_it_is_released_or_its_owner_is_gone() {
        let (_directory, cache) = store();
        let (claim, failure) = ours(cache.claim(&KEY, false));
        assert_eq!(failure, None);
        assert!(matches!(cache.claim(&KEY, false), Ok(Claimed::Theirs)));
        claim.release();
        let (dead, _) = ours(cache.claim(&KEY, false));
        drop(dead);
        ours(cache.claim(&KEY, false)).0.release();
        let claims = cache.root.join("claims");
        assert_eq!(fs::read_dir(claims).expect("read").count(), 0);
    }

    #[test]
    fn a_failure_is_told_to_who_waited_and_to_nobody_else() {
        let (_directory, cache) = store();
        let failure = Failure::Compile {
            code: 1,
            remains: Remains::words("no"),
        };
        ours(cache.claim(&KEY, false)).0.release_with(&failure);
        let (claim, told) = ours(cache.claim(&KEY, true));
        assert_eq!(told, Some(failure.clone()));
        claim.release_with(&failure);
        assert_eq!(ours(cache.claim(&KEY, false)).1, None);
        // It was not kept for the next one either.
        assert_eq!(ours(cache.claim(&KEY, true)).1, None);
    }
}
