//! From bytes, as they arrive, to frames.

use super::encoder::checksum;
use super::{CHECKED, Frame, FrameKind, HEADER, MAGIC, MAX_PAYLOAD, VERSION, WireError};

/// Takes bytes in pieces of any size and gives frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    /// The frame whose payload is arriving, and is large: it goes where it will stay.
    large: Option<Large>,
}

#[derive(Debug)]
struct Large {
    header: [u8; HEADER],
    kind: FrameKind,
    length: usize,
    payload: Vec<u8>,
}

/// Payloads above this size do not go through the buffer.
const LARGE: usize = 64 << 10;
/// Least room for what comes next.
const PIECE: usize = 64 << 10;

impl Decoder {
    /// Takes bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room().extend_from_slice(bytes);
    }

    /// Where the bytes that come next are to be appended: there is room for some, and they are not
    /// moved any more if they belong to a large payload.
    pub fn room(&mut self) -> &mut Vec<u8> {
        if let Some(large) = &mut self.large
            && large.payload.len() < large.length
        {
            return &mut large.payload;
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(PIECE);
        &mut self.buffer
    }

    /// The next whole frame, if it has arrived.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if let Some(mut large) = self
            .large
            .take_if(|large| large.length <= large.payload.len())
        {
            // Room is never less than what was asked for, but may be more.
            self.buffer
                .extend_from_slice(&large.payload[large.length..]);
            large.payload.truncate(large.length);
            return frame(&large.header, large.kind, large.payload).map(Some);
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let bytes = &self.buffer[self.start..];
        // Looked at before the header is whole: a program that prints a few bytes of text and then
        // waits is recognised at once.
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        if start != &MAGIC[..start.len()] {
            let got = bytes[..bytes.len().min(16)].escape_ascii().to_string();
            return Err(WireError::Magic { got });
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let version = u16::from_le_bytes([header[4], header[5]]);
        if version != VERSION {
            return Err(WireError::Version { got: version });
        }
        let number = u16::from_le_bytes([header[6], header[7]]);
        let kind = FrameKind::from_number(number).ok_or(WireError::Kind(number))?;
        let length = u32::from_le_bytes([header[16], header[17], header[18], header[19]]) as usize;
        if length > MAX_PAYLOAD {
            return Err(WireError::Length { got: length });
        }
        let arrived = &bytes[HEADER..];
        let Some(payload) = arrived.get(..length) else {
            if length > LARGE {
                // Only reserved: what does not arrive is never written to, and costs nothing.
                let mut payload = Vec::with_capacity(length);
                payload.extend_from_slice(arrived);
                self.large = Some(Large {
                    header: *header,
                    kind,
                    length,
                    payload,
                });
                self.start = self.buffer.len();
            }
            return Ok(None);
        };
        let frame = frame(header, kind, payload.to_vec())?;
        self.start += HEADER + length;
        Ok(Some(frame))
    }

    /// What the end of the stream means here: [`WireError::Closed`] between two frames,
    /// [`WireError::Truncated`] inside one.
    pub fn end(&self) -> WireError {
        let large = self.large.as_ref();
        let large = large.map_or(0, |large| HEADER + large.payload.len());
        match large + self.buffer.len() - self.start {
            0 => WireError::Closed,
            got => WireError::Truncated { got },
        }
    }
}

fn frame(header: &[u8; HEADER], kind: FrameKind, payload: Vec<u8>) -> Result<Frame, WireError> {
    if checksum(&header[..CHECKED], &payload, &[]) != header[CHECKED..] {
        return Err(WireError::Checksum);
    }
    let mut job = [0; 8];
    job.copy_from_slice(&header[8..16]);
    Ok(Frame::new(kind, u64::from_le_bytes(job), payload))
}
