//! Keeping the store small and sound: what `planish cache` does.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Cache, check_entry, read_entry};
use crate::hash::JobKey;

/// What is in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Entries.
    pub entries: u64,
    /// Their bytes on disk, headers included.
    pub bytes: u64,
    /// Damaged entries that were set aside.
    pub set_aside: u64,
    /// Since the entry that was not used for longest was last used.
    pub longest_idle: Option<Duration>,
}

/// What [`Cache::keep_within`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// Entries removed.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the entries that are left.
    pub left: u64,
}

/// What [`Cache::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Entries whose digest holds.
    pub sound: u64,
    /// Those whose digest does not, and what is wrong with them. They were set aside.
    pub damaged: Vec<(JobKey, String)>,
}

struct Entry {
    key: JobKey,
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Cache {
    /// What is in the store.
    pub fn stats(&self) -> io::Result<CacheStats> {
        let entries = self.entries()?;
        let oldest = entries.iter().map(|entry| entry.used).min();
        Ok(CacheStats {
            entries: entries.len() as u64,
            bytes: entries.iter().map(|entry| entry.bytes).sum(),
            set_aside: fs::read_dir(self.root.join("corrupt"))?.count() as u64,
            longest_idle: oldest.map(|used| used.elapsed().unwrap_or_default()),
        })
    }

    /// Removes entries, those that were not used for longest first, until the rest has at most
    /// `limit` bytes; and what was set aside. An entry that is in use stays readable to who has
    /// opened it.
    pub fn keep_within(&self, limit: u64) -> io::Result<Collected> {
        let mut entries = self.entries()?;
        // Equal times are usual on coarse clocks: the key decides, so that two runs agree.
        entries.sort_by_key(|entry| (entry.used, entry.key));
        let mut collected = Collected {
            left: entries.iter().map(|entry| entry.bytes).sum(),
            ..Collected::default()
        };
        for entry in &entries {
            if collected.left <= limit {
                break;
            }
            remove(&entry.path)?;
            collected.entries += 1;
            collected.bytes += entry.bytes;
            collected.left -= entry.bytes;
        }
        empty(&self.root.join("corrupt"))?;
        Ok(collected)
    }

    /// Reads every entry, and sets aside those that are damaged.
    pub fn verify(&self) -> io::Result<Verified> {
        let mut verified = Verified::default();
        for entry in self.entries()? {
            let checked = match read_entry(&entry.path) {
                Ok((bytes, _)) => check_entry(&entry.key, bytes).map(drop),
                // Somebody else was quicker to remove it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => Err(error.to_string()),
            };
            match checked {
                Ok(()) => verified.sound += 1,
                Err(reason) => {
                    self.set_aside(&entry.path, &entry.key);
                    verified.damaged.push((entry.key, reason));
                }
            }
        }
        Ok(verified)
    }

    /// Removes everything in the store, and what is known of jobs that kill.
    pub fn clear(&self) -> io::Result<Collected> {
        empty(&self.quarantine())?;
        self.keep_within(0)
    }

    /// Every entry, in the order of the keys.
    fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for shelf in fs::read_dir(&self.root)? {
            let shelf = shelf?;
            let name = shelf.file_name();
            let Some(start) = name.to_str().filter(|name| name.len() == 2) else {
                continue;
            };
            for entry in fs::read_dir(shelf.path())? {
                entries.extend(read(start, &entry?)?);
            }
        }
        entries.sort_by_key(|entry| entry.key);
        Ok(entries)
    }
}

/// The entry behind a name on a shelf; nothing if it is none, or gone.
fn read(start: &str, entry: &DirEntry) -> io::Result<Option<Entry>> {
    let name = entry.file_name();
    let key = name
        .to_str()
        .and_then(|rest| JobKey::from_hex(&format!("{start}{rest}")));
    let Some(key) = key else {
        return Ok(None);
    };
    let metadata = match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    Ok(Some(Entry {
        key,
        path: entry.path(),
        bytes: metadata.len(),
        used: metadata.modified()?,
    }))
}

fn empty(room: &Path) -> io::Result<()> {
    fs::read_dir(room)?.try_for_each(|entry| remove(&entry?.path()))
}

/// Removes a file, unless somebody else has just done so.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use tempfile::TempDir;

    use super::*;
    use crate::cache::{HEADER, Lookup, tests};

    fn key(number: u8) -> JobKey {
        JobKey::from_bytes([number; 32])
    }

    /// A store with an entry of 100 bytes for each number, last used so many hours ago.
    fn store(numbers: &[u8]) -> (TempDir, Cache) {
        let (directory, cache) = tests::store();
        for number in numbers {
            cache.put(&key(*number), &[0; 100]).expect("it is written");
            let used = SystemTime::now() - Duration::from_secs(3600 * u64::from(*number));
            File::open(cache.path(&key(*number)))
                .and_then(|file| file.set_modified(used))
                .expect("set the time");
        }
        (directory, cache)
    }

    fn has(cache: &Cache, number: u8) -> bool {
        cache.path(&key(number)).exists()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let (_directory, cache) = store(&[1, 2, 3, 4]);
        let size = 100 + HEADER as u64;
        let nothing = cache.keep_within(4 * size).expect("it collects");
        assert_eq!((nothing.entries, nothing.left), (0, 4 * size));
        // A use makes the oldest one the youngest.
        assert!(matches!(cache.get(&key(4)), Lookup::Found(..)));
        let collected = cache.keep_within(2 * size + 1).expect("it collects");
        assert_eq!((collected.entries, collected.bytes), (2, 2 * size));
        assert_eq!(collected.left, 2 * size);
        assert!(has(&cache, 1) && has(&cache, 4) && !has(&cache, 2) && !has(&cache, 3));
        assert_eq!(cache.clear().expect("it clears").entries, 2);
        assert_eq!(cache.stats().expect("stats"), CacheStats::default());
    }

    #[test]
    fn every_damaged_entry_is_found_and_set_aside() {
        let (_directory, cache) = store(&[1, 2, 3]);
        fs::write(cache.path(&key(2)), "torn").expect("write");
        let verified = cache.verify().expect("it verifies");
        assert_eq!(verified.sound, 2);
        assert_eq!(
            verified.damaged,
            [(key(2), "it has only 4 bytes".to_owned())]
        );
        let stats = cache.stats().expect("stats");
        assert_eq!((stats.entries, stats.set_aside), (2, 1));
        assert!(
            stats
                .longest_idle
                .is_some_and(|idle| idle.as_secs() >= 3 * 3600)
        );
        cache.keep_within(u64::MAX).expect("it collects");
        assert_eq!(cache.stats().expect("stats").set_aside, 0);
    }

    #[test]
    fn what_is_no_entry_is_left_alone() {
        let (_directory, cache) = store(&[1]);
        let stray = cache.root.join("01").join("README");
        fs::write(&stray, "x").expect("write");
        assert_eq!(cache.clear().expect("it clears").entries, 1);
        assert!(stray.exists());
    }

    #[test]
    fn a_store_can_be_moved() {
        let (directory, cache) = store(&[1]);
        let moved = directory.path().join("moved");
        drop(cache);
        fs::rename(directory.path().join("cache"), &moved).expect("move");
        let cache = Cache::open(&moved).expect("it opens");
        assert!(matches!(cache.get(&key(1)), Lookup::Found(..)));
    }
}
