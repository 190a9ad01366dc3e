//! The worker's end of the socket: whole frames in, whole frames out, and interrupts between.

use std::collections::VecDeque;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::patience::Patience;
use crate::wire::{Decoder, Frame, FrameKind, Note, WireError};

/// Bytes that are read at a time, and after which answers are not held back any longer.
const PIECE: usize = 64 << 10;

/// A socket that speaks frames.
///
/// Answers are held back while further orders have arrived already, and sent together. After an answer
/// the next order is looked for before it is slept for.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: UnixStream,
    decoder: Decoder,
    /// Orders that arrived while a job was looking for interrupts.
    waiting: VecDeque<Frame>,
    /// Those among them that were cancelled since.
    cancelled: Vec<u64>,
    outgoing: Vec<u8>,
    buffer: Box<[u8]>,
    ended: bool,
    /// Something was sent since the last order was waited for.
    answered: bool,
    patience: Patience,
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
            waiting: VecDeque::new(),
            cancelled: Vec::new(),
            outgoing: Vec::new(),
            buffer: vec![0; PIECE].into(),
            ended: false,
            answered: false,
            patience: Patience::of_this_process(),
        }
    }

    /// Waits for the next frame; `None` at the end of the stream.
    pub(crate) fn receive(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Ok(Some(frame));
            }
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            self.flush()?;
            if self.ended {
                return match self.decoder.end() {
                    WireError::Closed => Ok(None),
                    error => Err(error),
                };
            }
            self.wait();
        }
    }

    /// Whether an order was cancelled before its turn came; asked once for each.
    pub(crate) fn was_cancelled(&mut self, job: u64) -> bool {
        let before = self.cancelled.len();
        self.cancelled.retain(|cancelled| *cancelled != job);
        self.cancelled.len() < before
    }

    /// Sends a frame, at the latest before the next order is waited for.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(), WireError> {
        self.answered = true;
        if frame.payload.len() < PIECE {
            frame.encode(&mut self.outgoing)?;
            if self.outgoing.len() < PIECE {
                return Ok(());
            }
            return self.flush();
        }
        self.outgoing.extend_from_slice(&frame.header()?);
        self.flush()?;
        let sent = self.stream.write_all(&frame.payload);
        sent.map_err(|_| WireError::Closed)
    }

    /// Takes in what arrives next.
    fn wait(&mut self) {
        if std::mem::take(&mut self.answered)
            && let Some(look) = self.patience.begin()
        {
            loop {
                if self.read(RecvFlags::DONTWAIT) {
                    return;
                }
                if !look.goes_on() {
                    break;
                }
            }
        }
        while !self.read(RecvFlags::empty()) {}
    }

    /// Takes in what has arrived, and says whether anything has, be it the end.
    fn read(&mut self, flags: RecvFlags) -> bool {
        match rustix::net::recv(&self.stream, &mut self.buffer[..], flags) {
            Ok((_, 0)) => self.ended = true,
            Ok((_, count)) => self.decoder.push(&self.buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return false,
            // A reset connection is one whose other side is gone.
            Err(_) => self.ended = true,
        }
        true
    }

    fn flush(&mut self) -> Result<(), WireError> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let sent = self.stream.write_all(&self.outgoing);
        self.outgoing.clear();
        sent.map_err(|_| WireError::Closed)
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
        self.channel.read(RecvFlags::DONTWAIT);
    }

    /// Tells the pool something of the job, now. A pool that is gone is noticed by [`Self::pending`].
    pub(crate) fn tell(&mut self, note: &Note) {
        let channel = &mut *self.channel;
        if Frame::encode_message(&mut channel.outgoing, FrameKind::Note, self.job, note).is_ok() {
            let _ = channel.flush();
        }
    }

    /// Whether the job should stop. While a job runs, the pool may cancel it, and it may send and
    /// cancel further orders: any other frame is a violation, and stopping is the right answer to
    /// it.
    pub(crate) fn pending(&mut self) -> bool {
        let channel = &mut *self.channel;
        // A job that looks for interrupts takes its time: what was done before it is told first.
        if channel.ended || channel.flush().is_err() {
            self.stopped = true;
        }
        while !self.stopped {
            match channel.decoder.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) if frame.kind == FrameKind::Job => channel.waiting.push_back(frame),
                Ok(Some(frame)) if frame.kind == FrameKind::Cancel && frame.job != self.job => {
                    if channel.waiting.iter().any(|order| order.job == frame.job) {
                        channel.cancelled.push(frame.job);
                    }
                }
                Ok(Some(_)) | Err(_) => self.stopped = true,
            }
        }
        self.stopped
    }
}
