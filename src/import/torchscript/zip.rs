//! The container: a zip archive with one top folder.
//!
//! The central directory alone says where entries are and how long; the local headers of
//! `torch.jit.save` carry zero sizes. Stored entries are handed out as slices of the archive's own
//! bytes, so a mapped file is never copied. Every entry is checked against its CRC when it is read.

use bytes::Bytes;
use indexmap::IndexMap;
use rawzip::{CompressionMethod, ZipArchive, ZipArchiveEntryWayfinder, ZipSliceArchive};

use crate::error::{Error, Result};

/// What an archive may ask for before it is refused.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most entries in the central directory.
    pub entries: usize,
    /// Most bytes of all compressed entries together, once inflated.
    pub inflated_bytes: u64,
}

impl Default for Limits {
    /// A million entries and 1 GiB of inflated code: far above any model, far below a machine.
    fn default() -> Self {
        Self {
            entries: 1 << 20,
            inflated_bytes: 1 << 30,
        }
    }
}

/// File format versions this importer reads; 10 is the newest that torch 2.15 writes.
pub const VERSIONS: std::ops::RangeInclusive<u32> = 3..=10;

/// An opened archive: names below the top folder, content on demand.
#[derive(Debug)]
pub struct Archive {
    zip: ZipSliceArchive<Bytes>,
    entries: IndexMap<String, Stored>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    place: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
}

impl Archive {
    /// Reads the central directory of `bytes`.
    pub fn open(bytes: Bytes, limits: Limits) -> Result<Self> {
        let zip = ZipArchive::from_slice(bytes).map_err(|e| Error::archive(damaged(&e)))?;
        let mut entries = IndexMap::new();
        let mut top: Option<String> = None;
        let mut inflated: u64 = 0;
        let mut records = zip.entries();
        let mut count = 0;
        while let Some(record) = records
            .next_entry()
            .map_err(|e| Error::archive(format!("central directory: {}", damaged(&e))))?
        {
            count += 1;
            if count > limits.entries {
                let what = format!("more than {} entries", limits.entries);
                return Err(Error::archive(what));
            }
            let path = record.file_path();
            let Ok(path) = std::str::from_utf8(path.as_bytes()) else {
                return Err(Error::archive(format!("entry {count}: name is not UTF-8")));
            };
            if record.is_dir() {
                continue;
            }
            let Some((folder, name)) = path.split_once('/') else {
                return Err(Error::entry(
                    path,
                    "stands outside the archive's top folder",
                ));
            };
            if top.get_or_insert_with(|| folder.to_owned()) != folder {
                // A foreign folder is what an archiver of some desktop adds: not ours to read.
                continue;
            }
            let method = record.compression_method();
            match method {
                CompressionMethod::STORE => {}
                CompressionMethod::DEFLATE => {
                    inflated = inflated.saturating_add(record.uncompressed_size_hint());
                    if inflated > limits.inflated_bytes {
                        let limit = limits.inflated_bytes;
                        let what = format!("inflates the archive beyond {limit} bytes");
                        return Err(Error::entry(name, what));
                    }
                }
                other => {
                    let what = format!("compression method {other:?} is not supported");
                    return Err(Error::entry(name, what));
                }
            }
            let stored = Stored {
                place: record.wayfinder(),
                method,
            };
            if entries.insert(name.to_owned(), stored).is_some() {
                return Err(Error::entry(name, "occurs twice"));
            }
        }
        if entries.is_empty() {
            return Err(Error::archive("it has no entries"));
        }
        Ok(Self { zip, entries })
    }

    /// Whether there is an entry of this name below the top folder.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The names of all entries, in the order of the central directory.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The content of an entry: a slice of the archive if it is stored, a new buffer if it is
    /// deflated.
    pub fn read(&self, name: &str) -> Result<Bytes> {
        let fail = |what: String| Error::entry(name, what);
        let stored = self
            .entries
            .get(name)
            .ok_or_else(|| fail("is missing".into()))?;
        let entry = self
            .zip
            .get_entry(stored.place)
            .map_err(|e| fail(damaged(&e)))?;
        let claim = entry.claim_verifier();
        let content = if stored.method == CompressionMethod::STORE {
            let (start, end) = entry.compressed_data_range();
            self.zip.get_ref().slice(start as usize..end as usize)
        } else {
            let limit = usize::try_from(claim.uncompressed_size)
                .map_err(|_| fail("is larger than the address space".into()))?;
            miniz_oxide::inflate::decompress_to_vec_with_limit(entry.data(), limit)
                .map_err(|e| {
                    fail(format!(
                        "cannot be inflated ({:?}); the file is damaged, get it again",
                        e.status
                    ))
                })?
                .into()
        };
        let found = rawzip::ZipVerification {
            crc: crc32fast::hash(&content),
            uncompressed_size: content.len() as u64,
        };
        claim.valid(found).map_err(|e| fail(damaged(&e)))?;
        Ok(content)
    }

    /// The content of an entry that must be UTF-8 text.
    pub fn read_text(&self, name: &str) -> Result<String> {
        let content = self.read(name)?;
        String::from_utf8(content.into()).map_err(|_| Error::entry(name, "is not UTF-8"))
    }

    /// The file format version, from whichever of the two places holds it.
    pub fn version(&self) -> Result<u32> {
        let name = [".data/version", "version"]
            .into_iter()
            .find(|name| self.contains(name))
            .ok_or_else(|| Error::entry("version", "is missing"))?;
        let text = self.read_text(name)?;
        let version = text
            .trim()
            .parse()
            .map_err(|_| Error::entry(name, format!("{text:?} is not a number")))?;
        if VERSIONS.contains(&version) {
            return Ok(version);
        }
        let (first, last) = (VERSIONS.start(), VERSIONS.end());
        let what = format!("version {version} is not supported ({first} to {last} are)");
        Err(Error::entry(name, what))
    }

    /// Refuses archives whose tensors are not little endian. Old archives do not say: they are.
    pub fn check_byte_order(&self) -> Result<()> {
        if !self.contains("byteorder") {
            return Ok(());
        }
        match self.read_text("byteorder")?.trim() {
            "little" => Ok(()),
            other => {
                let what = format!("byte order {other:?} is not supported (\"little\" is)");
                Err(Error::entry("byteorder", what))
            }
        }
    }
}

/// What the zip crate says, without the capital it starts with, and what that means to a user.
fn damaged(error: &rawzip::Error) -> String {
    let text = error.to_string();
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_lowercase);
    let text: String = first.chain(chars).collect();
    format!("{text}; the file is damaged or incomplete, get it again")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::io::Write;

    /// A small archive; entries below `code` are deflated, all others stored.
    pub(crate) fn pack(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut zip = rawzip::ZipArchiveWriter::new(&mut out);
        for (name, content) in entries {
            let deflate = name.starts_with("code/");
            let method = if deflate {
                CompressionMethod::DEFLATE
            } else {
                CompressionMethod::STORE
            };
            let body = if deflate {
                miniz_oxide::deflate::compress_to_vec(content, 6)
            } else {
                content.to_vec()
            };
            let (mut entry, _) = zip
                .new_file(format!("top/{name}"))
                .compression_method(method)
                .start()
                .unwrap();
            entry.write_all(&body).unwrap();
            let size = content.len() as u64;
            let descriptor = rawzip::DataDescriptorOutput::new(rawzip::crc32(content), size);
            entry.finish(descriptor).unwrap();
        }
        zip.finish().unwrap();
        out
    }

    const SMALL: &[(&str, &[u8])] = &[
        ("data.pkl", b"\x80\x02N."),
        (
            "code/__torch__.py",
            b"def f(x: Tensor) -> Tensor:\n  return x\n",
        ),
        ("data/0", &[7; 64]),
        ("version", b"3\n"),
        ("byteorder", b"little"),
    ];

    fn read_all(bytes: Vec<u8>) -> Result<()> {
        let limits = Limits {
            entries: 100,
            inflated_bytes: 1 << 16,
        };
        let archive = Archive::open(bytes.into(), limits)?;
        archive.version()?;
        archive.check_byte_order()?;
        for name in archive.names() {
            archive.read(name)?;
        }
        Ok(())
    }

    #[test]
    fn reads_stored_and_deflated_entries() {
        let bytes = Bytes::from(pack(SMALL));
        let whole = bytes.as_ptr_range();
        let archive = Archive::open(bytes.clone(), Limits::default()).unwrap();
        for (name, content) in SMALL {
            assert_eq!(archive.read(name).unwrap(), *content);
        }
        assert_eq!(archive.version().unwrap(), 3);
        let storage = archive.read("data/0").unwrap();
        assert!(
            whole.contains(&storage.as_ptr()),
            "stored entries are not copied"
        );
    }

    #[test]
    fn refuses_limits_versions_and_byte_orders() {
        let open = |entries: &[(&str, &[u8])]| read_all(pack(entries)).unwrap_err().to_string();
        let many: Vec<(String, &[u8])> = (0..200).map(|i| (i.to_string(), &b""[..])).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(n, c)| (n.as_str(), *c)).collect();
        assert_eq!(open(&many), "read the archive: more than 100 entries");
        let big = vec![0; 1 << 17];
        assert_eq!(
            open(&[("code/a.py", &big)]),
            "read entry `code/a.py`: inflates the archive beyond 65536 bytes"
        );
        assert_eq!(
            open(&[("version", b"2")]),
            "read entry `version`: version 2 is not supported (3 to 10 are)"
        );
        assert_eq!(
            open(&[("data.pkl", b"")]),
            "read entry `version`: is missing"
        );
        assert_eq!(
            open(&[(".data/version", b"10"), ("byteorder", b"big")]),
            "read entry `byteorder`: byte order \"big\" is not supported (\"little\" is)"
        );
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = pack(SMALL);
        for cut in 0..bytes.len() {
            assert!(read_all(bytes[..cut].to_vec()).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn every_flipped_content_bit_is_noticed() {
        let bytes = pack(SMALL);
        read_all(bytes.clone()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                let _: Result<()> = read_all(flipped);
            }
        }
        let data = bytes.windows(64).position(|w| w == [7; 64]).unwrap();
        let mut flipped = bytes;
        flipped[data + 5] ^= 4;
        let error = read_all(flipped).unwrap_err().to_string();
        assert!(
            error.starts_with("read entry `data/0`: invalid checksum"),
            "{error}"
        );
    }
}
