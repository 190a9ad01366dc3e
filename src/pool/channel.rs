//! The worker's end of the socket: whole frames in, whole frames out, and interrupts between.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::wire::{Decoder, Frame, FrameKind, WireError};

/// A socket that speaks frames.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    decoder: Decoder,
    ended: bool,
}

/// What can stop a running job: a frame that cancels it, or the end of the pool.
#[derive(Debug)]
pub(crate) struct Interrupts<'a> {
    channel: &'a mut Channel,
    job: u64,
    stopped: bool,
}

impl Channel {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            ended: false,
        }
    }

    /// Waits for the next frame; `None` at the end of the stream.
    pub(crate) fn receive(&mut self) -> Result<Option<Frame>, WireError> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            if self.ended {
                return match self.decoder.end() {
                    WireError::Closed => Ok(None),
                    error => Err(error),
                };
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.decoder.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A reset connection is one whose other side is gone.
                Err(_) => self.ended = true,
            }
        }
    }

    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(), WireError> {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes)?;
        self.stream.write_all(&bytes).map_err(|_| WireError::Closed)
    }

    /// The socket.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The interrupts of `job`, while it runs.
    pub(crate) fn interrupts(&mut self, job: u64) -> Interrupts<'_> {
        Interrupts {
            channel: self,
            job,
            stopped: false,
        }
    }
}

impl Interrupts<'_> {
    /// The descriptor to wait on, beside others.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.stream.as_fd()
    }

    /// Takes in what has arrived, without waiting.
    pub(crate) fn read(&mut self) {
        let mut buffer = [0; 4096];
        match rustix::net::recv(&self.channel.stream, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => self.channel.ended = true,
            Ok((_, count)) => self.channel.decoder.push(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.channel.ended = true,
        }
    }

    /// Whether the job should stop. While a job runs, the pool has nothing to say but that it
    /// cancels it: any other frame is a violation, and stopping is the right answer to it too.
    pub(crate) fn pending(&mut self) -> bool {
        if self.channel.ended {
            self.stopped = true;
        }
        while !self.stopped {
            match self.channel.decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if frame.kind == FrameKind::Cancel && frame.job != self.job => {}
                Ok(Some(_)) | Err(_) => self.stopped = true,
            }
        }
        self.stopped
    }
}
