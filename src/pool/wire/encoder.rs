//! From messages to the bytes of frames.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::{CHECKED, FrameKind, HEADER, MAGIC, MAX_PAYLOAD, SAMPLED, VERSION, WireError};

/// Appends a frame whose payload is what `fill` appends, and then `behind`, which is not appended.
pub(super) fn encode(
    out: &mut Vec<u8>,
    kind: FrameKind,
    job: u64,
    behind: &[u8],
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    let mut header = [0; HEADER];
    begin(&mut header, kind, job);
    out.extend_from_slice(&header);
    let filled = fill(out).and_then(|()| {
        let payload = &out[start + HEADER..];
        seal(&mut header, payload, behind)
    });
    match filled {
        Ok(()) => out[start..start + HEADER].copy_from_slice(&header),
        Err(_) => out.truncate(start),
    }
    filled
}

fn begin(header: &mut [u8; HEADER], kind: FrameKind, job: u64) {
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6..8].copy_from_slice(&(kind as u16).to_le_bytes());
    header[8..16].copy_from_slice(&job.to_le_bytes());
}

/// Length and checksum, of a payload in two pieces.
fn seal(header: &mut [u8; HEADER], payload: &[u8], behind: &[u8]) -> Result<(), WireError> {
    let length = payload.len() + behind.len();
    if length > MAX_PAYLOAD {
        return Err(WireError::Length { got: length });
    }
    header[16..CHECKED].copy_from_slice(&(length as u32).to_le_bytes());
    let checksum = checksum(&header[..CHECKED], payload, behind);
    header[CHECKED..].copy_from_slice(&checksum);
    Ok(())
}

/// Where an encoded message goes. What postcard has for this takes byte after byte.
struct Tail<'a>(&'a mut Vec<u8>);

impl Flavor for Tail<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends the encoding of a message.
pub(super) fn append<T: Serialize>(message: T, out: &mut Vec<u8>) -> Result<(), WireError> {
    postcard::serialize_with_flavor(&message, Tail(out)).map_err(|error| unencodable(&error))
}

/// A message that cannot be sent.
pub(super) fn unencodable(error: &postcard::Error) -> WireError {
    WireError::Payload {
        expected: "an encodable message",
        detail: error.to_string(),
    }
}

/// Of a header, and of the start of a payload in two pieces.
pub(super) fn checksum(header: &[u8], payload: &[u8], behind: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    let of_it = payload.len().min(SAMPLED);
    hasher.update(&payload[..of_it]);
    hasher.update(&behind[..behind.len().min(SAMPLED - of_it)]);
    hasher.finalize().to_le_bytes()
}
