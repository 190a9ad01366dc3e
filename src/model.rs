//! Model files: mapped, not read, so that weights stay where they are until something needs them.

use std::path::Path;

use planish_import::{Error, Result, read};
use planish_ir::GraphModule;
use planish_runtime::map_file;

/// Reads the model file at `path`, whose large tensors stay in the mapped file.
///
/// Do not change or shorten the file while the model is in use: replace it by renaming another over it.
pub fn open(path: impl AsRef<Path>) -> Result<GraphModule> {
    let path = path.as_ref();
    let bytes = map_file(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    read(bytes, &name.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_named() {
        let room = tempfile::tempdir().unwrap();
        let error = |path: &Path| open(path).unwrap_err().to_string();
        let missing = error(&room.path().join("m.pt"));
        assert!(missing.contains("m.pt`: No such file"), "{missing}");
        let directory = error(room.path());
        assert!(directory.ends_with("is a directory"), "{directory}");
        let empty = room.path().join("empty.pt");
        std::fs::write(&empty, b"").unwrap();
        assert_eq!(error(&empty), "import `empty.pt`: it is empty");
    }
}
