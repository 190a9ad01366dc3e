//! A [`Ticket`]: the caller's end of a job; a [`Promise`]: the pool's end.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::JobError;
use crate::hash::JobKey;
use crate::job::Artefact;
use crate::mailbox::{Mailbox, Message};

/// A claim on a job's result. Clones share the claim; dropping it leaves the job running, so that
/// its result reaches the cache.
#[derive(Clone)]
pub struct Ticket {
    shared: Arc<Shared>,
    mailbox: Weak<Mailbox>,
}

/// The right and the duty to answer a ticket. Dropped without an answer, it answers that the pool
/// was shut down: no caller waits for ever.
#[derive(Debug)]
pub(crate) struct Promise {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    number: u64,
    name: String,
    key: JobKey,
    submitted: Instant,
    answer: Mutex<Option<Answer>>,
    answered: Condvar,
}

#[derive(Clone, Debug)]
struct Answer {
    result: Result<Artefact, JobError>,
    at: Instant,
}

/// A ticket and its promise.
pub(crate) fn ticket(
    number: u64,
    name: String,
    key: JobKey,
    mailbox: &Arc<Mailbox>,
) -> (Ticket, Promise) {
    let shared = Arc::new(Shared {
        number,
        name,
        key,
        submitted: Instant::now(),
        answer: Mutex::new(None),
        answered: Condvar::new(),
    });
    let promise = Promise {
        shared: Arc::clone(&shared),
    };
    (
        Ticket {
            shared,
            mailbox: Arc::downgrade(mailbox),
        },
        promise,
    )
}

impl Ticket {
    /// Waits for the result.
    pub fn wait(&self) -> Result<Artefact, JobError> {
        let mut answer = self.shared.lock();
        loop {
            if let Some(answer) = &*answer {
                return answer.result.clone();
            }
            answer = self
                .shared
                .answered
                .wait(answer)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the result, at most so long.
    pub fn wait_timeout(&self, time: Duration) -> Option<Result<Artefact, JobError>> {
        let answer = self.shared.lock();
        let (answer, _) = self
            .shared
            .answered
            .wait_timeout_while(answer, time, |answer| answer.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        answer.as_ref().map(|answer| answer.result.clone())
    }

    /// The result, if it is there.
    pub fn try_get(&self) -> Option<Result<Artefact, JobError>> {
        self.shared
            .lock()
            .as_ref()
            .map(|answer| answer.result.clone())
    }

    /// Gives up the claim. The ticket resolves to [`JobError::Cancelled`] unless its result is
    /// there first; the job is stopped if no other ticket wants it.
    pub fn cancel(&self) {
        if let Some(mailbox) = self.mailbox.upgrade() {
            mailbox.send(Message::Cancel(self.shared.number));
        }
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The job's key.
    pub fn key(&self) -> JobKey {
        self.shared.key
    }

    /// When the job was submitted.
    pub fn submitted(&self) -> Instant {
        self.shared.submitted
    }

    /// When the ticket was answered.
    pub fn answered(&self) -> Option<Instant> {
        self.shared.lock().as_ref().map(|answer| answer.at)
    }
}

impl Promise {
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    pub(crate) fn key(&self) -> JobKey {
        self.shared.key
    }

    /// Answers the ticket.
    pub(crate) fn keep(self, result: Result<Artefact, JobError>) {
        self.shared.answer(result);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.shared.answer(Err(JobError::Closed {
            job: self.shared.name.clone(),
        }));
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.shared.name)
            .field("key", &self.shared.key)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first answer stands.
    fn answer(&self, result: Result<Artefact, JobError>) {
        let mut answer = self.lock();
        if answer.is_none() {
            *answer = Some(Answer {
                result,
                at: Instant::now(),
            });
            self.answered.notify_all();
        }
    }
}
