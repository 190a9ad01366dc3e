//! Files as memory.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use memmap2::MmapOptions;

use crate::Error;

/// Maps a file for reading; slices of the result share the mapping.
///
/// Do not change or shorten the file while the bytes are in use: replace it by renaming another over it, as planish does.
pub fn map_file(path: impl AsRef<Path>) -> Result<Bytes, Error> {
    let path = path.as_ref();
    let failed = |source| Error::Map {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    // An empty file cannot be mapped.
    if file.metadata().map_err(failed)?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is private and read-only, so this process cannot change it through any reference. Another process that writes to
    // the file could; planish never writes to a finished file, it renames a new one over it, which leaves the mapped one as it was.
    let mapping = unsafe { MmapOptions::new().map_copy_read_only(&file) }.map_err(failed)?;
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
    fn an_empty_file_is_empty_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let error = map_file(&path).unwrap_err().to_string();
        assert!(error.contains("/file: "), "{error}");
        std::fs::write(&path, b"").unwrap();
        assert!(map_file(&path).unwrap().is_empty());
    }
}
