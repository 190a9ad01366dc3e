//! The artefact: one file that holds a finalized module and its kernels.
//!
//! ```text
//! bytes 0..8     magic, "PLANISH\0"
//! bytes 8..12    format version, u32 little endian
//! bytes 12..16   zero
//! bytes 16..24   length of the manifest, u64 little endian
//! bytes 24..56   BLAKE3 of the manifest
//! bytes 56..     manifest (JSON), then blobs, each at a multiple of 64
//! ```
//!
//! The manifest names every blob with its offset, size and BLAKE3. Reading checks the version, every bound and every digest before
//! anything is used; a file is written beside its place and renamed, so that no partial one is ever seen. The same module gives the same
//! bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Version of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"PLANISH\0";
const HEADER: usize = 56;
const ALIGN: usize = 64;

/// A manifest and its blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// What the package is, and what its blobs are.
    pub manifest: Manifest,
    /// Blobs by name, in the order in which they lie in the file.
    pub blobs: IndexMap<String, Bytes>,
}

/// What a package is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The planish that wrote it.
    pub planish: String,
    /// The file that the module was read from, without its directory.
    pub origin: String,
    /// The arithmetic that outputs follow.
    pub contract: String,
    /// The instruction set that the kernels need.
    pub isa: String,
    /// Blob with the module's text.
    pub module: String,
    /// The kernels.
    pub kernels: Vec<KernelEntry>,
    /// Weights in the order that kernels read them in.
    pub packed: Vec<PackedEntry>,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelEntry {
    /// What it computes: operator, geometry, contract, instruction set.
    pub kernel: String,
    /// Blob with the shared object.
    pub blob: String,
}

/// A packed weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackedEntry {
    /// The attribute of the root module that it belongs to.
    pub attribute: String,
    /// The kernel that reads it.
    pub kernel: String,
    /// Blob with the bytes.
    pub blob: String,
}

/// The manifest as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Index {
    manifest: Manifest,
    blobs: Vec<BlobEntry>,
}

#[derive(Serialize, Deserialize)]
struct BlobEntry {
    name: String,
    /// From the start of the file.
    offset: u64,
    size: u64,
    blake3: String,
}

/// Why an artefact could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file could not be read or written.
    #[error("{verb} {}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The file is not an artefact.
    #[error("read {name} as an artefact: {reason}")]
    Malformed {
        /// The file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written in another version of the format.
    #[error(
        "read {name}: its format is version {found}, and this planish reads version {FORMAT}; finalize the model again"
    )]
    Version {
        /// The file.
        name: String,
        /// Its version.
        found: u32,
    },
    /// Bytes of the file are not those that were written.
    #[error("read {what} of {name}: its BLAKE3 is {found} and should be {expected}")]
    Digest {
        /// The file.
        name: String,
        /// The part of it.
        what: String,
        /// What the bytes have.
        found: String,
        /// What they should have.
        expected: String,
    },
}

impl Package {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Offsets stand in the manifest and begin where it ends: lay it out until its end stays put. The end only grows, and by less
        // each time, since only the digits of the offsets do.
        let mut base = HEADER;
        loop {
            let json = self.index_json(base);
            let needed = (HEADER + json.len()).next_multiple_of(ALIGN);
            if needed <= base {
                return self.assemble(base, &json);
            }
            base = needed;
        }
    }

    fn assemble(&self, base: usize, json: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            base + self
                .blobs
                .values()
                .map(|blob| blob.len() + ALIGN)
                .sum::<usize>(),
        );
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(json.len() as u64).to_le_bytes());
        out.extend_from_slice(blake3::hash(json).as_bytes());
        out.extend_from_slice(json);
        out.resize(base, 0);
        for blob in self.blobs.values() {
            out.resize(out.len().next_multiple_of(ALIGN), 0);
            out.extend_from_slice(blob);
        }
        out
    }

    fn index_json(&self, base: usize) -> Vec<u8> {
        let mut at = base;
        let blobs = self.blobs.iter().map(|(name, blob)| {
            at = at.next_multiple_of(ALIGN);
            let entry = BlobEntry {
                name: name.clone(),
                offset: at as u64,
                size: blob.len() as u64,
                blake3: blake3::hash(blob).to_hex().to_string(),
            };
            at += blob.len();
            entry
        });
        let index = Index {
            blobs: blobs.collect(),
            manifest: self.manifest.clone(),
        };
        serde_json::to_vec(&index).expect("strings and numbers are always JSON")
    }

    /// Writes the file, all of it or nothing.
    pub fn write(&self, path: &Path) -> Result<(), PackageError> {
        let failed = |source| PackageError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        };
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new()
            .prefix(".planish-")
            .tempfile_in(directory)
            .map_err(failed)?;
        file.write_all(&self.to_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Reads the bytes of a file called `name`.
    pub fn read(bytes: &Bytes, name: &str) -> Result<Self, PackageError> {
        let malformed = |reason: String| PackageError::Malformed {
            name: name.to_owned(),
            reason,
        };
        if bytes.len() < HEADER || bytes[..8] != MAGIC {
            return Err(malformed("it does not begin like one".to_owned()));
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != FORMAT {
            return Err(PackageError::Version {
                name: name.to_owned(),
                found: version,
            });
        }
        let mut length = [0; 8];
        length.copy_from_slice(&bytes[16..24]);
        let end = usize::try_from(u64::from_le_bytes(length))
            .ok()
            .and_then(|length| HEADER.checked_add(length));
        let json = end
            .and_then(|end| bytes.get(HEADER..end))
            .ok_or_else(|| malformed("it ends within its manifest".to_owned()))?;
        let expected = blake3::Hash::from_slice(&bytes[24..56])
            .map_err(|error| malformed(error.to_string()))?;
        check_digest(name, "the manifest", json, &expected.to_hex())?;
        let index: Index = serde_json::from_slice(json)
            .map_err(|error| malformed(format!("its manifest: {error}")))?;
        let mut blobs = IndexMap::new();
        for entry in index.blobs {
            let range = usize::try_from(entry.offset)
                .ok()
                .zip(usize::try_from(entry.size).ok());
            let range = range
                .and_then(|(offset, size)| Some(offset..offset.checked_add(size)?))
                .filter(|range| range.end <= bytes.len());
            let range = range.ok_or_else(|| {
                malformed(format!("the blob {} reaches beyond its end", entry.name))
            })?;
            let blob = bytes.slice(range);
            check_digest(
                name,
                &format!("the blob {}", entry.name),
                &blob,
                &entry.blake3,
            )?;
            blobs.insert(entry.name, blob);
        }
        Ok(Self {
            manifest: index.manifest,
            blobs,
        })
    }

    /// A blob that the manifest speaks of.
    pub fn blob(&self, name: &str) -> Result<&Bytes, PackageError> {
        self.blobs.get(name).ok_or_else(|| PackageError::Malformed {
            name: self.manifest.origin.clone(),
            reason: format!("its manifest speaks of a blob {name:?} that it does not have"),
        })
    }
}

fn check_digest(name: &str, what: &str, bytes: &[u8], expected: &str) -> Result<(), PackageError> {
    let found = blake3::hash(bytes).to_hex();
    if found.as_str() == expected {
        return Ok(());
    }
    let (name, what, expected) = (name.to_owned(), what.to_owned(), expected.to_owned());
    Err(PackageError::Digest {
        name,
        what,
        found: found.to_string(),
        expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        let manifest = Manifest {
            planish: "0".into(),
            origin: "m.pt".into(),
            contract: "fbgemm".into(),
            isa: "portable".into(),
            module: "module.ir".into(),
            kernels: vec![KernelEntry {
                kernel: "add_u8 fbgemm portable".into(),
                blob: "k0".into(),
            }],
            packed: vec![],
        };
        let blobs = [
            ("module.ir".to_owned(), Bytes::from("graph():\n")),
            ("k0".to_owned(), Bytes::from(vec![7; 100])),
        ];
        Package {
            manifest,
            blobs: blobs.into(),
        }
    }

    #[test]
    fn bytes_read_back_and_repeat() {
        let bytes = package().to_bytes();
        assert_eq!(bytes, package().to_bytes());
        assert_eq!(Package::read(&bytes.into(), "p").unwrap(), package());
    }

    #[test]
    fn no_changed_or_missing_byte_goes_unseen() {
        let bytes = package().to_bytes();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            if let Ok(read) = Package::read(&changed.into(), "p") {
                assert_eq!(read, package(), "byte {at} is padding");
            }
            assert!(
                Package::read(&Bytes::copy_from_slice(&bytes[..at]), "p").is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = package().to_bytes();
        bytes[8] = 9;
        let error = Package::read(&bytes.into(), "p.planish")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("version 9") && error.contains("p.planish"),
            "{error}"
        );
    }

    #[test]
    fn writing_leaves_one_file_or_none() {
        let dir = tempfile::tempdir().unwrap();
        package().write(&dir.path().join("a.planish")).unwrap();
        assert!(
            package()
                .write(&dir.path().join("missing/a.planish"))
                .is_err()
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
