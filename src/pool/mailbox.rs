//! The way to the pool's core: a queue of messages, the core behind a lock, and a bell.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use rustix::event::EventfdFlags;

use crate::core::Core;
use crate::job::Job;
use crate::patience::Patience;
use crate::ticket::Promise;
use crate::watch::Watch;

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
///
/// No message is left lying: who has had the core looks for messages after it has let go of it. Who
/// brought one before that look finds it taken, and who brings one later finds the core free.
pub(crate) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    core: Mutex<Core>,
    bell: OwnedFd,
    watch: Watch,
    patience: Patience,
}

impl Mailbox {
    /// A mailbox in front of a core.
    pub(crate) fn new(core: Core) -> io::Result<Self> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            messages: Mutex::default(),
            core: Mutex::new(core),
            watch: Watch::new(bell.as_fd())?,
            bell,
            patience: Patience::of_this_process(),
        })
    }

    pub(crate) fn send(&self, message: Message) {
        self.lock_messages().push(message);
        self.take_what_came_meanwhile();
    }

    /// Hears the workers on this thread until something is `done`, as long as they go on saying
    /// something; not at all if another thread does.
    pub(crate) fn hear_until(&self, done: impl Fn() -> bool) {
        let Some((mut look, listener)) = self.patience.begin().zip(self.watch.listen()) else {
            return;
        };
        let mut seen = Vec::new();
        while !done() {
            if listener.hear(&mut seen).is_err() {
                return;
            }
            if seen.is_empty() {
                if !look.goes_on() {
                    return;
                }
                continue;
            }
            match self.core.lock() {
                Ok(mut core) => {
                    core.listen(&self.watch, &seen);
                    self.ring_for(&core);
                }
                Err(poisoned) => return poisoned.into_inner().give_up(),
            }
            self.take_what_came_meanwhile();
            look.renew();
        }
    }

    /// Handles the messages that lie there, unless somebody has the core, who will do it.
    pub(crate) fn take_what_came_meanwhile(&self) {
        while !self.lock_messages().is_empty() {
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(poisoned)) => {
                    let mut core = poisoned.into_inner();
                    core.give_up();
                    core
                }
            };
            let messages = std::mem::take(&mut *self.lock_messages());
            core.take(&self.watch, messages);
            self.ring_for(&core);
        }
    }

    /// The core, for the supervisor's thread.
    pub(crate) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What tells of the workers.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) fn silence_bell(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Answers every ticket that there is and will be.
    pub(crate) fn give_up(&self) {
        self.core().give_up();
        self.take_what_came_meanwhile();
    }

    /// Wakes the supervisor if there is something that only it can do.
    fn ring_for(&self, core: &Core) {
        if core.needs_its_supervisor() {
            // A bell that cannot be rung more often is ringing.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    fn lock_messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
