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
//! anything is used, and that the blobs lie where writing puts them with zeros between, so that no byte of a file goes unchecked. The
//! same module gives the same bytes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::file;

/// Version of the format that is written, and the only one that is read.
pub const FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"PLANISH\0";
const HEADER: usize = 56;
const ALIGN: usize = 64;

/// A manifest and its blobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// What the package is, and what its blobs are.
    pub manifest: Manifest,
    /// Blobs by name, in the order in which they lie in the file.
    pub blobs: IndexMap<String, Blob>,
}

/// Bytes and their digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    bytes: Bytes,
    digest: blake3::Hash,
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
    pub kernels: Vec<UnitEntry>,
    /// Weights in the order that kernels read them in.
    pub packed: Vec<PackedEntry>,
    /// Kernels that are slower than they could be, or missing, since their compiler failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<DegradedEntry>,
}

/// A kernel that is slower than it could be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegradedEntry {
    /// What it computes, as it was wanted.
    pub kernel: String,
    /// How it is computed: plain, portable, eval.
    pub rung: String,
    /// Why not in a better way, in one line.
    pub because: String,
}

/// Kernels that were compiled together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitEntry {
    /// What each computes: operator, geometry, contract, instruction set. The object holds these and no other.
    pub kernels: Vec<String>,
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
        found: u64,
    },
    /// Bytes of the file are not those that were written.
    #[error("read {what} of {name}: its BLAKE3 is {found} and should be {expected}")]
    Digest {
        /// The file.
        name: String,
        /// The part of it.
        what: String,
        /// What the bytes have.
        found: blake3::Hash,
        /// What they should have.
        expected: blake3::Hash,
    },
}

impl Package {
    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_parts(|parts| parts.concat())
    }

    /// Writes the file, all of it or nothing. The blobs, which may be most of the memory there is, are not copied for it.
    pub fn write(&self, path: &Path) -> Result<(), PackageError> {
        let written = self.with_parts(|parts| file::write_parts(path, parts.iter().copied()));
        written.map_err(|source| PackageError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// What `then` makes of the file's bytes in pieces.
    fn with_parts<T>(&self, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        // Offsets stand in the manifest and begin where it ends: lay it out until its end stays put. The end only grows, and by less
        // each time, since only the digits of the offsets do.
        let mut base = HEADER;
        loop {
            let json = self.index_json(base);
            let needed = (HEADER + json.len()).next_multiple_of(ALIGN);
            if needed <= base {
                let head = head(&json);
                return then(&self.parts(&head, &json));
            }
            base = needed;
        }
    }

    /// The header, the manifest and the blobs, each blob after the zeros that align it.
    fn parts<'p>(&'p self, head: &'p [u8], json: &'p [u8]) -> Vec<&'p [u8]> {
        let mut parts = vec![head, json];
        let mut at = head.len() + json.len();
        for blob in self.blobs.values() {
            let gap = at.next_multiple_of(ALIGN) - at;
            parts.extend([&[0; ALIGN][..gap], &blob.bytes]);
            at += gap + blob.bytes.len();
        }
        parts
    }

    fn index_json(&self, base: usize) -> Vec<u8> {
        let mut at = base;
        let blobs = self.blobs.iter().map(|(name, blob)| {
            at = at.next_multiple_of(ALIGN);
            let entry = BlobEntry {
                name: name.clone(),
                offset: at as u64,
                size: blob.bytes.len() as u64,
                blake3: blob.digest.to_hex().to_string(),
            };
            at += blob.bytes.len();
            entry
        });
        let index = Index {
            blobs: blobs.collect(),
            manifest: self.manifest.clone(),
        };
        serde_json::to_vec(&index).expect("strings and numbers are always JSON")
    }

    /// Reads the bytes of a file called `name`.
    pub fn read(bytes: &Bytes, name: &str) -> Result<Self, PackageError> {
        let malformed = |reason: String| PackageError::Malformed {
            name: name.to_owned(),
            reason,
        };
        let (json, expected) = header(bytes, name)?;
        check_digest(name, "the manifest", blake3::hash(json), expected)?;
        let index: Index = serde_json::from_slice(json)
            .map_err(|error| malformed(format!("its manifest: {error}")))?;
        let mut blobs = IndexMap::new();
        let mut at = HEADER + json.len();
        for entry in index.blobs {
            let start = at.next_multiple_of(ALIGN);
            let end = usize::try_from(entry.size)
                .ok()
                .and_then(|size| start.checked_add(size))
                .filter(|end| *end <= bytes.len())
                .ok_or_else(|| malformed(format!("it ends within the blob {}", entry.name)))?;
            if entry.offset != start as u64 || bytes[at..start].iter().any(|byte| *byte != 0) {
                return Err(malformed(format!(
                    "the blob {} does not follow what is before it",
                    entry.name
                )));
            }
            let blob = Blob::from(bytes.slice(start..end));
            let expected = blake3::Hash::from_hex(&entry.blake3)
                .map_err(|error| malformed(format!("the digest of {}: {error}", entry.name)))?;
            let what = format!("the blob {}", entry.name);
            check_digest(name, &what, blob.digest, expected)?;
            if blobs.insert(entry.name, blob).is_some() {
                return Err(malformed(format!("{what} is there twice")));
            }
            at = end;
        }
        if at != bytes.len() {
            let rest = bytes.len() - at;
            return Err(malformed(format!("{rest} bytes follow its last blob")));
        }
        Ok(Self {
            manifest: index.manifest,
            blobs,
        })
    }
}

impl Blob {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their digest.
    pub fn digest(&self) -> &blake3::Hash {
        &self.digest
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        let digest = blake3::hash(&bytes);
        Self { bytes, digest }
    }
}

/// The header of a file with this manifest.
fn head(json: &[u8]) -> Vec<u8> {
    let length = (json.len() as u64).to_le_bytes();
    let digest = blake3::hash(json);
    [
        &MAGIC[..],
        &FORMAT.to_le_bytes(),
        &[0; 4],
        &length,
        digest.as_bytes(),
    ]
    .concat()
}

/// The manifest's bytes and the digest that they should have.
fn header<'b>(bytes: &'b [u8], name: &str) -> Result<(&'b [u8], blake3::Hash), PackageError> {
    let malformed = |reason: &str| PackageError::Malformed {
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    let (header, rest) = bytes
        .split_first_chunk::<HEADER>()
        .filter(|(header, _)| header.starts_with(&MAGIC))
        .ok_or_else(|| malformed("it does not begin like one"))?;
    let number = |range: std::ops::Range<usize>| {
        let little = header[range].iter().rev();
        little.fold(0, |number, byte| (number << 8) | u64::from(*byte))
    };
    let version = number(8..12);
    if version != u64::from(FORMAT) {
        return Err(PackageError::Version {
            name: name.to_owned(),
            found: version,
        });
    }
    if number(12..16) != 0 {
        return Err(malformed("bytes 12 to 16 are not zero"));
    }
    let json = usize::try_from(number(16..24))
        .ok()
        .and_then(|length| rest.get(..length))
        .ok_or_else(|| malformed("it ends within its manifest"))?;
    let expected =
        blake3::Hash::from_slice(&header[24..]).map_err(|error| malformed(&error.to_string()))?;
    Ok((json, expected))
}

fn check_digest(
    name: &str,
    what: &str,
    found: blake3::Hash,
    expected: blake3::Hash,
) -> Result<(), PackageError> {
    if found == expected {
        return Ok(());
    }
    Err(PackageError::Digest {
        name: name.to_owned(),
        what: what.to_owned(),
        found,
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
            kernels: vec![UnitEntry {
                kernels: vec!["add_u8 fbgemm portable".into()],
                blob: "k0".into(),
            }],
            packed: vec![],
            degraded: vec![],
        };
        let blobs = [
            ("module.ir".to_owned(), Bytes::from("graph():\n").into()),
            ("k0".to_owned(), Bytes::from(vec![7; 100]).into()),
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
            assert!(
                Package::read(&changed.into(), "p").is_err(),
                "changed at {at}"
            );
            assert!(
                Package::read(&Bytes::copy_from_slice(&bytes[..at]), "p").is_err(),
                "cut at {at}"
            );
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Package::read(&longer.into(), "p").is_err());
    }

    #[test]
    fn blobs_lie_one_after_the_other_and_have_names_of_their_own() {
        let bytes = package().to_bytes();
        let base = (HEADER + package().index_json(0).len()).next_multiple_of(ALIGN);
        let json = String::from_utf8(package().index_json(base)).unwrap();
        assert_eq!(
            package()
                .parts(&head(json.as_bytes()), json.as_bytes())
                .concat(),
            bytes
        );
        let forged = |from: &str, to: &str| {
            assert!(json.contains(from), "{json}");
            let json = json.replacen(from, to, 1);
            let bytes = package()
                .parts(&head(json.as_bytes()), json.as_bytes())
                .concat();
            Package::read(&bytes.into(), "p").unwrap_err().to_string()
        };
        let offset = format!("\"offset\":{}", base + ALIGN);
        let overlap = forged(&offset, &format!("\"offset\":{base}"));
        assert!(overlap.contains("k0 does not follow"), "{overlap}");
        let twice = forged("\"name\":\"k0\"", "\"name\":\"module.ir\"");
        assert!(twice.contains("module.ir"), "{twice}");
        let long = forged("\"size\":100", "\"size\":101");
        assert!(long.contains("ends within the blob k0"), "{long}");
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
