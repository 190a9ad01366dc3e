//! What is to be sent: small things joined together, large ones from where they are.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::AsFd;

use bytes::{Buf, Bytes};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags};

/// Bytes of a socket that have not been sent yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    /// What comes after them.
    tail: Vec<u8>,
    /// How much of the tail is sent.
    sent: usize,
}

/// What is shorter is copied: that costs less than to send it as a part of its own.
const SMALL: usize = 16 << 10;
/// Most parts that are sent with one call.
const TOGETHER: usize = 16;
/// Room of the tail that is kept for the next bytes.
const KEPT: usize = 4 << 20;

impl Outgoing {
    /// Where bytes are appended.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends bytes that can be sent from where they are.
    pub(crate) fn attach(&mut self, bytes: &Bytes) {
        if bytes.len() < SMALL {
            return self.tail.extend_from_slice(bytes);
        }
        if self.sent < self.tail.len() {
            let tail = Bytes::from(std::mem::take(&mut self.tail));
            self.parts.push_back(tail.slice(self.sent..));
        }
        self.tail.clear();
        self.sent = 0;
        self.parts.push_back(bytes.clone());
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        let parts: usize = self.parts.iter().map(Bytes::len).sum();
        parts + self.tail.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.sent == self.tail.len()
    }

    /// Drops what is not sent.
    pub(crate) fn clear(&mut self) {
        self.parts.clear();
        self.tail.clear();
        self.tail.shrink_to(KEPT);
        self.sent = 0;
    }

    /// Sends everything, or until the socket does not take more.
    pub(crate) fn send(&mut self, socket: impl AsFd, flags: SendFlags) -> Result<(), Errno> {
        let flags = flags | SendFlags::NOSIGNAL;
        while !self.is_empty() {
            let parts = self.parts.iter().take(TOGETHER).map(|part| &part[..]);
            let tail = (self.parts.len() < TOGETHER).then(|| &self.tail[self.sent..]);
            let slices: Vec<IoSlice<'_>> = parts.chain(tail).map(IoSlice::new).collect();
            let none = &mut SendAncillaryBuffer::default();
            let sent = match &slices[..] {
                [one] => rustix::net::send(&socket, one, flags),
                several => rustix::net::sendmsg(&socket, several, none, flags),
            };
            match sent {
                Ok(count) => self.advance(count),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        self.clear();
        Ok(())
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(part) = self.parts.front_mut() {
            let of_it = count.min(part.len());
            part.advance(of_it);
            count -= of_it;
            if !part.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.sent += count;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_come_in_their_order_whatever_is_copied_and_however_little_goes_at_once() {
        let (here, mut there) = UnixStream::pair().expect("a socket pair");
        let mut outgoing = Outgoing::default();
        let mut expected = Vec::new();
        let mut received = Vec::new();
        let mut buffer = vec![0; 50_000];
        for number in 0..60_u8 {
            let length = if number % 3 == 0 {
                7
            } else {
                SMALL + usize::from(number) * 1_000
            };
            let bytes = Bytes::from(vec![number; length]);
            outgoing.tail().push(200);
            outgoing.attach(&bytes);
            expected.push(200);
            expected.extend_from_slice(&bytes);
            let blocked = outgoing.send(&here, SendFlags::DONTWAIT) == Err(Errno::AGAIN);
            assert_eq!(blocked, !outgoing.is_empty());
            if number % 2 == 0 {
                let count = there.read(&mut buffer).expect("it is open");
                received.extend_from_slice(&buffer[..count]);
            }
            assert!(received.len() + outgoing.len() <= expected.len());
        }
        let rest = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut rest = Vec::new();
                there.read_to_end(&mut rest).expect("it is open");
                rest
            });
            outgoing
                .send(&here, SendFlags::empty())
                .expect("it is open");
            here.shutdown(std::net::Shutdown::Write)
                .expect("it is open");
            reader.join().expect("it ends")
        });
        received.extend(rest);
        assert!(
            received == expected,
            "{} of {} bytes",
            received.len(),
            expected.len()
        );
    }
}
