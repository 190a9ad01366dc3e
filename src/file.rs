//! Files that are written whole or not at all.
//!
//! The bytes go to a file beside the target that takes its name only when all of them are on the disk. Whoever looks at the target sees
//! what was there before or all of the new, also when the disk is full or the process dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes a file, all of it or nothing. What is there and is no file, such as a pipe or a terminal, takes the bytes as they are.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_parts(path, [bytes])
}

/// Writes a file from its parts, all of them or nothing.
pub fn write_parts<'b>(path: &Path, parts: impl IntoIterator<Item = &'b [u8]>) -> io::Result<()> {
    let mut parts = parts.into_iter();
    if is_device(path) {
        let mut device = OpenOptions::new().write(true).open(path)?;
        return parts.try_for_each(|part| device.write_all(part));
    }
    let mut file = beside(path)?;
    parts.try_for_each(|part| file.write_all(part))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_name(path);
    Ok(())
}

/// Whether a file could be written here: to be asked before long work.
pub fn check_place(path: &Path) -> io::Result<()> {
    if is_device(path) {
        return Ok(());
    }
    beside(path).map(drop)
}

/// An unfinished file in the directory of `path`, which is removed unless it takes its name.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // With the permissions of any new file.
    let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
    tempfile::Builder::new()
        .prefix(".planish-")
        .make_in(directory(path), create)
}

fn directory(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Whether this is there and no file, such as a pipe or a terminal.
pub(crate) fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// Makes the new name outlast a power failure. A file system that cannot still has the whole file or the old one.
fn sync_name(path: &Path) {
    if let Ok(directory) = File::open(directory(path)) {
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap().flatten();
        entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(room.path()), ["a"]);
    }

    #[test]
    fn a_directory_is_not_replaced() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a");
        fs::create_dir(&path).unwrap();
        for attempt in [check_place(&path), write_whole(&path, b"one")] {
            assert_eq!(attempt.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        }
        assert!(check_place(&room.path().join("missing/a")).is_err());
        assert!(write_whole(Path::new(""), b"one").is_err());
        assert_eq!(names(room.path()), ["a"]);
    }

    #[test]
    fn a_device_is_written_to_and_stays_one() {
        let full = Path::new("/dev/full");
        check_place(full).unwrap();
        assert_eq!(
            write_whole(full, b"one").unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert!(is_device(full));
    }
}
