//! The worker's end of the socket: whole frames in, whole frames out, and interrupts between.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::outgoing::Outgoing;
use crate::patience::Patience;
use crate::view::View;
use crate::wire::{Decoder, Frame, FrameKind, Note, Order, Region, WireError};

/// Bytes after which answers are not held back any longer.
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
    outgoing: Outgoing,
    /// Where large payloads lie.
    view: Option<View>,
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
    pub(crate) fn new(stream: UnixStream, view: Option<View>) -> Self {
        Self {
            stream,
            decoder: Decoder::default(),
            waiting: VecDeque::new(),
            cancelled: Vec::new(),
            outgoing: Outgoing::default(),
            view,
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
            // An answer that was sent from the arena is gone from there only now.
            if self.return_payloads()? {
                self.flush()?;
            }
            if self.ended {
                return match self.decoder.end() {
                    WireError::Closed => Ok(None),
                    error => Err(error),
                };
            }
            self.wait();
        }
    }

    /// The order in a frame, with the payload of its job.
    pub(crate) fn order_in(&mut self, frame: &Frame) -> Result<Order, WireError> {
        let mut order = frame.order()?;
        if let Some(region) = order.region {
            let payload = self.payload(frame.job, region)?;
            if let Some(place) = order.kind.payload_mut() {
                *place = payload;
            }
        }
        Ok(order)
    }

    /// Whether an order was cancelled before its turn came; asked once for each.
    pub(crate) fn was_cancelled(&mut self, job: u64) -> bool {
        let before = self.cancelled.len();
        self.cancelled.retain(|cancelled| *cancelled != job);
        self.cancelled.len() < before
    }

    /// Sends what a job made, or word of where it lies.
    pub(crate) fn answer(&mut self, job: u64, result: Bytes) -> Result<(), WireError> {
        let place = self.view.as_mut().and_then(|view| view.put(job, &result));
        let Some(region) = place else {
            return self.send(&Frame::new(FrameKind::Done, job, result));
        };
        let answer = Frame::with(FrameKind::Placed, job, &region)?;
        // The place is returned behind the answer.
        drop(result);
        self.send(&answer)
    }

    /// Sends a frame, at the latest before the next order is waited for.
    pub(crate) fn send(&mut self, frame: &Frame) -> Result<(), WireError> {
        self.answered = true;
        frame.encode_before_payload(self.outgoing.tail())?;
        self.outgoing.attach(&frame.payload);
        self.return_payloads()?;
        if self.outgoing.len() < PIECE {
            return Ok(());
        }
        self.flush()
    }

    fn payload(&mut self, job: u64, region: Region) -> Result<Bytes, WireError> {
        let view = self.view.as_mut().ok_or_else(|| WireError::Region {
            job,
            region,
            reason: "there is no arena".to_owned(),
        })?;
        view.payload(job, region)
    }

    /// Tells which payloads are not read any more, at the latest before the next order is waited for, and says whether there are any.
    fn return_payloads(&mut self) -> Result<bool, WireError> {
        let unused = self.view.as_mut().map(View::unused).unwrap_or_default();
        for job in &unused {
            Frame::new(FrameKind::Returned, *job, Bytes::new()).encode(self.outgoing.tail())?;
        }
        Ok(!unused.is_empty())
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
        let room = spare_capacity(self.decoder.room());
        match rustix::net::recv(&self.stream, room, flags) {
            Ok((_, 0)) => self.ended = true,
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return false,
            // A reset connection is one whose other side is gone.
            Err(_) => self.ended = true,
        }
        true
    }

    /// Sends what was held back.
    pub(crate) fn flush(&mut self) -> Result<(), WireError> {
        let sent = self.outgoing.send(&self.stream, SendFlags::empty());
        sent.map_err(|_| {
            self.outgoing.clear();
            WireError::Closed
        })
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
        if Frame::encode_message(channel.outgoing.tail(), FrameKind::Note, self.job, note).is_ok() {
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
