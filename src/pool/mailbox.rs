//! The way to the pool's core: a queue of messages, the core behind a lock, and a bell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use rustix::event::EventfdFlags;

use crate::core::Core;
use crate::job::Job;
use crate::ticket::Promise;

/// What callers ask of the pool.
#[derive(Debug)]
pub(crate) enum Message {
    Submit {
        ticket: u64,
        job: Box<Job>,
        promise: Promise,
    },
    Cancel(u64),
    Warm,
    Quiesce,
    /// Dropped when nothing is under way any more.
    Drain(Sender<()>),
    Close {
        /// When what is not done is given up.
        give_up: Instant,
        /// When what is not gone is killed.
        by: Instant,
    },
}

/// A message is handled by the thread that brings it, if the core is free, and by whoever has the
/// core otherwise. So a job reaches an idle worker without waking the supervisor's thread, and a
/// caller never waits for it.
pub(crate) struct Mailbox {
    queue: Sender<Message>,
    core: Mutex<Core>,
    bell: OwnedFd,
}

impl Mailbox {
    /// A mailbox in front of the core that `build` makes around its end of the queue.
    pub(crate) fn new(build: impl FnOnce(Receiver<Message>) -> Core) -> io::Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (queue, receiver) = channel();
        Ok(Self {
            queue,
            core: Mutex::new(build(receiver)),
            bell,
        })
    }

    pub(crate) fn send(&self, message: Message) {
        // The core holds the receiver and lives as long as this mailbox.
        let _ = self.queue.send(message);
        match self.core.try_lock() {
            Ok(mut core) => {
                core.take_messages();
                if core.needs_its_supervisor() {
                    self.ring();
                }
            }
            // Whoever has it may have looked at the queue already: it must be looked at again.
            Err(TryLockError::WouldBlock) => self.ring(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().give_up(),
        }
    }

    /// The core, for the supervisor's thread.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable when the supervisor should look at the core.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    pub(crate) fn silence_bell(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    fn ring(&self) {
        // A bell that cannot be rung more often is ringing.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
