//! An archive as one flat piece of bytes that a fuzzer can change anywhere.
//!
//! In a zip archive every changed byte breaks a checksum. Here each entry begins with a mark and its name; what the fuzzer
//!  makes of the bytes between is packed into an archive whose checksums are right.

use std::io::Write;

use rawzip::{CompressionMethod, DataDescriptorOutput, ZipArchiveWriter, crc32};

/// Two of these begin an entry; no UTF-8 text contains one.
const MARK: u8 = 0xfe;

/// Entries as flat bytes: the mark, a line with the name, the content.
pub fn flatten<'e>(entries: impl IntoIterator<Item = (&'e str, &'e [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in entries {
        out.extend([MARK, MARK]);
        out.extend(name.as_bytes());
        out.push(b'\n');
        out.extend(content);
    }
    out
}

/// The archive that flat bytes stand for. A name that comes twice counts once.
pub fn pack(flat: &[u8]) -> Vec<u8> {
    let mut entries: Vec<(String, &[u8])> = Vec::new();
    let mut rest = flat;
    while let [MARK, MARK, body @ ..] = rest {
        let end = body.windows(2).position(|pair| pair == [MARK, MARK]);
        let (entry, next) = body.split_at(end.unwrap_or(body.len()));
        let line = entry.iter().position(|byte| *byte == b'\n');
        let (name, content) = entry.split_at(line.unwrap_or(entry.len()));
        let name = String::from_utf8_lossy(name).into_owned();
        if entries.iter().all(|(known, _)| *known != name) {
            entries.push((name, content.get(1..).unwrap_or_default()));
        }
        rest = next;
    }
    let mut out = Vec::new();
    let mut zip = ZipArchiveWriter::new(&mut out);
    for (name, content) in entries {
        let builder = zip
            .new_file(format!("m/{name}"))
            .compression_method(CompressionMethod::STORE);
        let (mut entry, _) = builder.start().expect("a vector takes all bytes");
        entry.write_all(content).expect("a vector takes all bytes");
        let descriptor = DataDescriptorOutput::new(crc32(content), content.len() as u64);
        entry.finish(descriptor).expect("a vector takes all bytes");
    }
    zip.finish().expect("a vector takes all bytes");
    out
}
