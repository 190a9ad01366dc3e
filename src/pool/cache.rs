//! A store of artefacts by job key, on disk, that never gives out bytes it has not checked.
//!
//! ```text
//! <directory>/            0700, ours, no symlink, not writable by others
//!   v1/<2 hex>/<62 hex>   entry: magic, key, digest, length, mark, bytes
//!   v1/tmp/               entries being written
//!   v1/corrupt/           entries that failed their check
//!   v1/claims/            who makes which entry just now
//!   v1/quarantine/        jobs that killed their compilers
//! ```
//!
//! What was not used for longest goes first when the store is kept within a size. Nothing in it names
//! the directory, so it can be moved and copied.
//!
//! An entry is written beside the store and renamed into it. It is not flushed to the disk: an entry
//! torn by a power failure fails its check and is made again, which is cheaper than waiting for the
//! disk at every kernel.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode, OFlags};

use crate::error::Error;
use crate::hash::{Digest, JobKey};
use crate::os;
use crate::wire::MAX_PAYLOAD;

mod claim;
mod ownership;
mod upkeep;

pub(crate) use claim::{Claim, Claimed};
use ownership::{check_ancestors, check_owned};
pub use upkeep::{CacheStats, Collected, Verified};

/// Where the store is in its directory: what is laid out otherwise may be there as well.
const ROOT: &str = "v1";
/// How an entry begins; the last byte is the version of its layout.
const MAGIC: [u8; 8] = *b"PLNCACH2";
/// How entries of the layout before began, which are written anew.
const BEFORE: [u8; 8] = *b"PLNCACH1";
/// Bytes for the instruction set on which an entry was proven, zeros if it was not.
const MARK: usize = 32;
/// Bytes before the artefact: magic, key, digest, length, mark, CRC-32 of the mark.
const HEADER: usize = 8 + 32 + 32 + 8 + MARK + 4;
/// A file that was not written to for so long has no writer any more.
const ABANDONED: Duration = Duration::from_secs(3600);
/// An entry's time of last use is written down again when it is older than this.
const STALE: Duration = Duration::from_secs(600);

/// The store.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Bytes of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// The instruction set of the processor on which they were proven to be what their job claims, if it
    /// claims anything.
    pub proven: Option<String>,
}

/// What the store has for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// This, whose digest was checked just now.
    Found(Entry),
    /// Nothing.
    Missing,
    /// An entry that failed its check and was set aside.
    Corrupt {
        /// What is wrong with it.
        reason: String,
    },
}

impl Cache {
    /// Opens the store in `directory`, and makes it if need be. Refuses a directory that somebody
    /// else could have put code into.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        let directory = directory.as_ref();
        let refuse = |reason: String| Error::CacheDirectory {
            path: directory.to_owned(),
            reason,
        };
        let path = std::path::absolute(directory).map_err(|error| refuse(error.to_string()))?;
        // Before anything is made there.
        check_ancestors(&path).map_err(refuse)?;
        private_builder()
            .recursive(true)
            .create(&path)
            .or_else(|error| match error.kind() {
                // What is there instead of a directory is told below.
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(refuse(error.to_string())),
            })?;
        check_owned(&path).map_err(refuse)?;
        let root = path.join(ROOT);
        let rooms = ["tmp", "corrupt", "claims", "quarantine"].map(|room| root.join(room));
        for room in [root.clone()].into_iter().chain(rooms) {
            private_builder()
                .recursive(true)
                .create(&room)
                .map_err(|error| refuse(format!("{}: {error}", room.display())))?;
            check_owned(&room).map_err(|reason| refuse(format!("{}: {reason}", room.display())))?;
        }
        remove_abandoned(&root.join("tmp"));
        remove_abandoned(&root.join("claims"));
        Ok(Self { root })
    }

    /// Whether there is a store in `directory`, which may be as [`Cache::open`] refuses it.
    pub fn is_in(directory: impl AsRef<Path>) -> bool {
        directory.as_ref().join(ROOT).is_dir()
    }

    /// What the store has for `key`. An entry that cannot be read counts as missing.
    pub fn get(&self, key: &JobKey) -> Lookup {
        let _span = tracing::debug_span!("cache_get", %key).entered();
        let path = self.path(key);
        let Ok((bytes, file)) = read_entry(&path) else {
            return Lookup::Missing;
        };
        if bytes.starts_with(&BEFORE) {
            return Lookup::Missing;
        }
        match check_entry(key, bytes) {
            Ok(entry) => {
                note_use(&file);
                Lookup::Found(entry)
            }
            Err(reason) => {
                self.set_aside(&path, key);
                Lookup::Corrupt { reason }
            }
        }
    }

    /// A damaged entry must not be met again.
    fn set_aside(&self, path: &Path, key: &JobKey) {
        let aside = self.root.join("corrupt").join(key.to_string());
        if fs::rename(path, aside).is_err() {
            let _ = fs::remove_file(path);
        }
    }

    /// Stores `bytes` under `key`. On an error nothing of the entry is left behind.
    pub fn put(&self, key: &JobKey, bytes: &[u8]) -> io::Result<Digest> {
        self.put_proven(key, bytes, None)
    }

    /// The same, marked with the instruction set on which the bytes were proven; its first 32 bytes are kept.
    pub(crate) fn put_proven(
        &self,
        key: &JobKey,
        bytes: &[u8],
        proven: Option<&str>,
    ) -> io::Result<Digest> {
        let _span = tracing::debug_span!("cache_put", %key, bytes = bytes.len()).entered();
        let mut mark = [0; MARK];
        let proven = proven.unwrap_or_default().as_bytes();
        let length = proven.len().min(MARK);
        mark[..length].copy_from_slice(&proven[..length]);
        let digest = Digest::of(bytes);
        let path = self.path(key);
        // The file is removed when this value is dropped, unless it was renamed.
        let mut file = tempfile::NamedTempFile::new_in(self.root.join("tmp"))?;
        file.write_all(&MAGIC)?;
        file.write_all(key.as_bytes())?;
        file.write_all(digest.as_bytes())?;
        file.write_all(&(bytes.len() as u64).to_le_bytes())?;
        file.write_all(&mark)?;
        file.write_all(&crc32fast::hash(&mark).to_le_bytes())?;
        file.write_all(bytes)?;
        if let Some(shelf) = path.parent() {
            private_builder().recursive(true).create(shelf)?;
        }
        file.persist(&path).map_err(|error| error.error)?;
        Ok(digest)
    }

    /// The directory that the store was opened in.
    pub fn directory(&self) -> &Path {
        // The root is one of its rooms.
        self.root.parent().unwrap_or(&self.root)
    }

    /// Where jobs that kill are noted.
    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    fn path(&self, key: &JobKey) -> PathBuf {
        let name = key.to_string();
        let (shelf, rest) = name.split_at(2);
        self.root.join(shelf).join(rest)
    }
}

fn private_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn read_entry(path: &Path) -> io::Result<(Vec<u8>, File)> {
    // Neither a link out of the store nor a pipe that never ends is followed.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    let most = (HEADER + MAX_PAYLOAD) as u64;
    if !metadata.is_file() || metadata.uid() != os::effective_user() {
        return Err(io::Error::other("not a file of ours"));
    }
    let mut bytes = Vec::with_capacity(metadata.len().min(most) as usize);
    (&file).take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes, file))
}

/// The time of an entry's last write says when it was last used; most uses write none.
fn note_use(file: &File) {
    let used = file.metadata().and_then(|metadata| metadata.modified());
    if used.is_ok_and(|used| used.elapsed().unwrap_or_default() > STALE) {
        // It only decides what goes first.
        let _ = file.set_modified(SystemTime::now());
    }
}

fn check_entry(key: &JobKey, mut bytes: Vec<u8>) -> Result<Entry, String> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Err(format!("it has only {} bytes", bytes.len()));
    };
    let (magic, rest) = header.split_at(8);
    let (stored_key, rest) = rest.split_at(32);
    let (stored_digest, rest) = rest.split_at(32);
    let (length, rest) = rest.split_at(8);
    let (mark, checksum) = rest.split_at(MARK);
    if magic != MAGIC {
        return Err("it is not an entry of this version".to_owned());
    }
    if stored_key != key.as_bytes() {
        return Err("it belongs to another job".to_owned());
    }
    if length != ((bytes.len() - HEADER) as u64).to_le_bytes() {
        return Err("its length is wrong".to_owned());
    }
    let digest = Digest::of(&bytes[HEADER..]);
    if stored_digest != digest.as_bytes() {
        return Err("its digest is wrong".to_owned());
    }
    if checksum != crc32fast::hash(mark).to_le_bytes() {
        return Err("the mark of its proof is damaged".to_owned());
    }
    let mark = String::from_utf8_lossy(mark.split(|byte| *byte == 0).next().unwrap_or_default());
    let proven = (!mark.is_empty()).then(|| mark.into_owned());
    bytes.drain(..HEADER);
    Ok(Entry {
        bytes,
        digest,
        proven,
    })
}

fn remove_abandoned(room: &Path) {
    let Ok(entries) = fs::read_dir(room) else {
        return;
    };
    for entry in entries.flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified());
        if age.is_ok_and(|time| time.elapsed().unwrap_or_default() > ABANDONED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    pub(super) const KEY: JobKey = JobKey::from_bytes([7; 32]);

    /// An empty store in a directory of its own.
    pub(super) fn store() -> (TempDir, Cache) {
        let directory = TempDir::new().expect("a directory");
        let cache = Cache::open(directory.path().join("cache")).expect("it opens");
        (directory, cache)
    }

    fn files(path: &Path) -> usize {
        fs::read_dir(path).expect("read").count()
    }

    fn refused(path: &Path) -> String {
        Cache::open(path).expect_err("refused").to_string()
    }

    #[test]
    fn what_was_put_comes_back_with_its_digest() {
        let (_directory, cache) = store();
        assert_eq!(cache.get(&KEY), Lookup::Missing);
        let digest = cache.put(&KEY, b"object").expect("it is written");
        let entry = Entry {
            bytes: b"object".to_vec(),
            digest,
            proven: None,
        };
        assert_eq!(cache.get(&KEY), Lookup::Found(entry.clone()));
        cache
            .put_proven(&KEY, b"object", Some("avx2"))
            .expect("it is written");
        let proven = Some("avx2".to_owned());
        assert_eq!(cache.get(&KEY), Lookup::Found(Entry { proven, ..entry }));
        assert_eq!(files(&cache.root.join("tmp")), 0);
        let mode = fs::metadata(cache.path(&KEY)).expect("an entry").mode();
        assert_eq!(mode & 0o077, 0, "others may not read it");
    }

    #[test]
    fn every_damaged_byte_is_found_and_the_entry_set_aside() {
        let (_directory, cache) = store();
        cache.put(&KEY, b"object").expect("it is written");
        let good = fs::read(cache.path(&KEY)).expect("read");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(cache.path(&KEY), bad).expect("write");
            assert!(
                matches!(cache.get(&KEY), Lookup::Corrupt { .. }),
                "byte {at}"
            );
            assert_eq!(cache.get(&KEY), Lookup::Missing, "byte {at}");
        }
        for length in 0..good.len() {
            fs::write(cache.path(&KEY), &good[..length]).expect("write");
            assert!(
                matches!(cache.get(&KEY), Lookup::Corrupt { .. }),
                "length {length}"
            );
        }
        assert_eq!(files(&cache.root.join("corrupt")), 1);
    }

    #[test]
    fn an_entry_under_another_key_is_not_believed() {
        let (_directory, cache) = store();
        let other = JobKey::from_bytes([8; 32]);
        cache.put(&KEY, b"object").expect("it is written");
        cache.put(&other, b"other").expect("it is written");
        fs::copy(cache.path(&KEY), cache.path(&other)).expect("copy");
        assert_eq!(
            cache.get(&other),
            Lookup::Corrupt {
                reason: "it belongs to another job".into()
            }
        );
    }

    #[test]
    fn a_link_in_place_of_an_entry_is_not_followed() {
        let (directory, cache) = store();
        cache.put(&KEY, b"object").expect("it is written");
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(cache.path(&KEY), &elsewhere).expect("move");
        symlink(&elsewhere, cache.path(&KEY)).expect("link");
        assert_eq!(cache.get(&KEY), Lookup::Missing);
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("cache");
        fs::create_dir(&path).expect("create");
        for mode in [0o777, 0o720, 0o702, 0o1777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set the mode");
            let text = refused(&path);
            assert!(
                text.contains("may write to it") && text.contains("cache"),
                "{mode:o}: {text}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set the mode");
        Cache::open(&path).expect("readable by others is well");
    }

    #[test]
    fn a_directory_below_one_open_to_others_is_refused() {
        let directory = TempDir::new().expect("a directory");
        let shared = directory.path().join("shared");
        fs::create_dir(&shared).expect("create");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).expect("set the mode");
        assert!(refused(&shared.join("cache")).contains("written to by everybody"));
        assert_eq!(files(&shared), 0);
    }

    #[test]
    fn a_link_and_a_file_are_refused() {
        let (directory, _cache) = store();
        let link = directory.path().join("link");
        symlink(directory.path().join("cache"), &link).expect("link");
        assert!(refused(&link).contains("symbolic link"));
        let file = directory.path().join("file");
        fs::write(&file, "").expect("write");
        assert!(refused(&file).contains("not a directory"));
        assert!(refused(&file.join("cache")).contains("Not a directory"));
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let (_directory, cache) = store();
        // A file where the shelf should be: the rename cannot happen.
        let shelf = cache.path(&KEY).parent().expect("a shelf").to_owned();
        fs::write(&shelf, "").expect("write");
        assert!(cache.put(&KEY, b"object").is_err());
        assert_eq!(files(&cache.root.join("tmp")), 0);
        fs::remove_dir(cache.root.join("tmp")).expect("remove");
        assert!(cache.put(&KEY, b"object").is_err());
    }
}
