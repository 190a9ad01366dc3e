//! The pool's temporary directory: private, removed with the pool, and swept up after a pool whose
//! process was killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::error::Error;
use crate::os;

/// Start of the names of these directories.
const PREFIX: &str = "planish-pool-";
/// A directory younger than this may belong to a pool that has not taken its lock yet.
const SETTLED: Duration = Duration::from_secs(60);

/// A private directory in which each worker has a place of its own.
#[derive(Debug)]
pub(crate) struct Scratch {
    root: TempDir,
    /// Locked while the pool lives. The lock dies with the process and tells a leftover from a
    /// directory in use.
    _lock: File,
}

/// Where a worker may make a directory. What is there goes with this.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Scratch {
    /// Makes the directory inside `base`, and removes what dead pools left there.
    pub(crate) fn new(base: &Path) -> Result<Self, Error> {
        let cannot = |error: &io::Error| Error::Scratch {
            path: base.to_owned(),
            reason: error.to_string(),
        };
        sweep(base);
        let root = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(base)
            .map_err(|error| cannot(&error))?;
        let lock = File::open(root.path()).map_err(|error| cannot(&error))?;
        lock.try_lock().map_err(|error| cannot(&error.into()))?;
        Ok(Self { root, _lock: lock })
    }

    /// Where a worker works. What the one before it in its slot left has another name, and need not be gone yet.
    pub(crate) fn place(&self, slot: usize, generation: u64) -> Place {
        Place(self.root.path().join(format!("worker-{slot}-{generation}")))
    }
}

impl Place {
    /// The directory, which is not made yet: not every worker needs one.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays behind goes with the whole directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes the place of a worker whose pool is gone, and the pool's directory with the last one.
pub(crate) fn remove_place(place: &Path) {
    let _ = fs::remove_dir_all(place);
    if let Some(root) = place.parent() {
        let _ = fs::remove_dir(root);
    }
}

fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX))
        {
            let _ = sweep_one(&entry.path());
        }
    }
}

fn sweep_one(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let age = metadata.modified()?.elapsed().unwrap_or_default();
    if !metadata.is_dir() || metadata.uid() != os::effective_user() || age < SETTLED {
        return Ok(());
    }
    match File::open(path)?.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        File::open(path)
            .and_then(|file| file.set_modified(old))
            .expect("set the time");
    }

    #[test]
    fn a_dead_pools_directory_is_swept_and_a_living_ones_is_not() {
        let base = TempDir::new().expect("a directory");
        let living = Scratch::new(base.path()).expect("scratch");
        age(living.root.path());
        let dead = base.path().join(format!("{PREFIX}dead"));
        fs::create_dir_all(dead.join("worker-0-1")).expect("create");
        let young = base.path().join(format!("{PREFIX}young"));
        fs::create_dir(&young).expect("create");
        age(&dead);
        let _second = Scratch::new(base.path()).expect("scratch");
        assert!(living.root.path().exists() && young.exists() && !dead.exists());
    }

    #[test]
    fn a_place_goes_by_itself_and_everything_goes_with_the_scratch() {
        let base = TempDir::new().expect("a directory");
        let scratch = Scratch::new(base.path()).expect("scratch");
        let (first, second) = (scratch.place(3, 1), scratch.place(3, 2));
        for place in [&first, &second] {
            assert!(!place.path().exists());
            fs::create_dir(place.path()).expect("create");
            fs::write(place.path().join("kernel.c"), "x").expect("write");
        }
        let gone = first.path().to_owned();
        drop(first);
        assert!(!gone.exists() && second.path().exists());
        drop(scratch);
        assert_eq!(fs::read_dir(base.path()).expect("read").count(), 0);
    }
}
