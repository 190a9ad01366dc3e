//! Whether a directory is ours alone, from the root down: what is loaded from it will be executed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::os;

/// A directory of ours that nobody else can write to.
pub(super) fn check_owned(path: &Path) -> Result<(), String> {
    let metadata = fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    if metadata.is_symlink() {
        return Err("it is a symbolic link".to_owned());
    }
    if !metadata.is_dir() {
        return Err("it is not a directory".to_owned());
    }
    let user = os::effective_user();
    if metadata.uid() != user {
        return Err(format!(
            "it belongs to user {}, and this is user {user}",
            metadata.uid()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "group or others may write to it (mode {:o})",
            metadata.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Nobody else can replace the directory from above: up to the first directory that is sticky or
/// root's, every one is ours and closed to others.
pub(super) fn check_ancestors(path: &Path) -> Result<(), String> {
    let above = path
        .ancestors()
        .skip(1)
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    let above = fs::canonicalize(above).map_err(|error| error.to_string())?;
    for ancestor in above.ancestors() {
        let told = |what: &str| Err(format!("{} {what}", ancestor.display()));
        let metadata = fs::symlink_metadata(ancestor).map_err(|error| error.to_string())?;
        let (mode, owner) = (metadata.mode(), metadata.uid());
        if mode & 0o1000 != 0 {
            return Ok(());
        }
        if mode & 0o002 != 0 {
            return told("above it may be written to by everybody");
        }
        if owner == 0 {
            return Ok(());
        }
        if owner != os::effective_user() {
            return told("above it belongs to another user");
        }
        if mode & 0o020 != 0 {
            return told("above it may be written to by its group");
        }
    }
    Ok(())
}
