//! Files as memory.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::MmapOptions;

/// Maps a file for reading; slices of the result share the mapping.
///
/// Do not change or shorten the file while the bytes are in use: replace it by renaming another over it, as planish does.
pub fn map_file(path: impl AsRef<Path>) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let found = file.metadata()?;
    // Mapping a directory fails with a reason that says nothing.
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    // What a pipe or a device holds has no size.
    if !found.is_file() {
        let reason = "it is no regular file, and cannot be mapped";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    // An empty file cannot be mapped.
    if found.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, so this process cannot change it through any reference. Another process that writes to
    // the file could; planish never writes to a finished file, it renames a new one over it, which leaves the mapped one as it was.
    let mapping = unsafe { MmapOptions::new().map_copy_read_only(&file) }?;
    Ok(Bytes::from_owner(mapping))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_reads_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"planish").unwrap();
        let bytes = map_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(&bytes.slice(3..)[..], b"nish");
    }

    #[test]
    fn an_empty_file_is_empty_and_what_is_no_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let kind = |path: &Path| map_file(path).unwrap_err().kind();
        assert_eq!(kind(&path), io::ErrorKind::NotFound);
        assert_eq!(kind(dir.path()), io::ErrorKind::IsADirectory);
        assert_eq!(kind(Path::new("/dev/null")), io::ErrorKind::InvalidInput);
        std::fs::write(&path, b"").unwrap();
        assert!(map_file(&path).unwrap().is_empty());
    }
}
