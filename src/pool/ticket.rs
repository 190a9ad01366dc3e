//! A [`Ticket`]: the caller's end of a job; a [`Promise`]: the pool's end.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::admission::{Pass, while_answering};
use crate::error::JobError;
use crate::hash::JobKey;
use crate::job::{Artefact, Job, unnamed};
use crate::mailbox::{Mailbox, Message};

/// A claim on a job's result. Clones share the claim; dropping it leaves the job running, so that
/// its result reaches the cache.
///
/// The result can be waited for ([`wait`](Self::wait), [`wait_timeout`](Self::wait_timeout)), looked
/// for ([`try_get`](Self::try_get)), told to a function ([`on_answer`](Self::on_answer)), or awaited:
/// a ticket is a [`Future`] that needs no runtime and stays answered.
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
    /// Goes with the promise, and lets the next job in.
    _pass: Option<Pass>,
}

struct Shared {
    number: u64,
    /// Written down when somebody asks for it, unless the job has one.
    name: OnceLock<String>,
    kind: &'static str,
    key: JobKey,
    submitted: Instant,
    held: Mutex<Held>,
    answered: Condvar,
}

#[derive(Default)]
struct Held {
    answer: Option<Answer>,
    /// How many threads sleep until it is there.
    waiting: usize,
    /// Who is told of the answer besides those that wait for it.
    listeners: Vec<Listener>,
}

enum Listener {
    Waker(Waker),
    Call(Box<Tell>),
}

type Tell = dyn FnOnce(&Result<Artefact, JobError>) + Send;

#[derive(Clone, Debug)]
struct Answer {
    result: Result<Artefact, JobError>,
    at: Instant,
}

/// A ticket and its promise.
pub(crate) fn ticket(
    number: u64,
    job: &Job,
    key: JobKey,
    mailbox: &Arc<Mailbox>,
    pass: Pass,
) -> (Ticket, Promise) {
    let given = job.given_name().map(str::to_owned);
    let shared = Arc::new(Shared {
        number,
        name: given.map_or_else(OnceLock::new, OnceLock::from),
        kind: job.kind().name(),
        key,
        submitted: Instant::now(),
        held: Mutex::default(),
        answered: Condvar::new(),
    });
    let promise = Promise {
        shared: Arc::clone(&shared),
        _pass: Some(pass),
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
        self.hear_the_workers(None);
        let mut held = self.shared.lock();
        held.waiting += 1;
        loop {
            if let Some(answer) = &held.answer {
                return answer.result.clone();
            }
            let waited = self.shared.answered.wait(held);
            held = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the result, at most so long.
    pub fn wait_timeout(&self, time: Duration) -> Option<Result<Artefact, JobError>> {
        // A time beyond what the clock can express is no time that anybody will see.
        let until = Instant::now().checked_add(time);
        self.hear_the_workers(until);
        let left = until.map_or(time, |until| {
            until.saturating_duration_since(Instant::now())
        });
        let mut held = self.shared.lock();
        held.waiting += 1;
        let waited =
            (self.shared.answered).wait_timeout_while(held, left, |held| held.answer.is_none());
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        held.waiting -= 1;
        held.answer.as_ref().map(|answer| answer.result.clone())
    }

    /// The result, if it is there.
    pub fn try_get(&self) -> Option<Result<Artefact, JobError>> {
        let held = self.shared.lock();
        held.answer.as_ref().map(|answer| answer.result.clone())
    }

    /// Calls `tell` with the result: at once if it is there, else when it comes, on the thread that
    /// brings it. It must be quick and must not wait for a ticket; it may submit and cancel. A panic
    /// in it is caught and dropped: it must not cost others their answers.
    pub fn on_answer(&self, tell: impl FnOnce(&Result<Artefact, JobError>) + Send + 'static) {
        let mut held = self.shared.lock();
        match &held.answer {
            None => held.listeners.push(Listener::Call(Box::new(tell))),
            Some(answer) => {
                let result = answer.result.clone();
                drop(held);
                tell(&result);
            }
        }
    }

    /// Gives up the claim. The ticket resolves to [`JobError::Cancelled`] unless its result is
    /// there first; the job is stopped if no other ticket wants it.
    pub fn cancel(&self) {
        if let Some(mailbox) = self.mailbox.upgrade() {
            mailbox.send(Message::Cancel(self.shared.number));
        }
    }

    /// The ticket's number, which no other ticket of its pool has.
    pub fn number(&self) -> u64 {
        self.shared.number
    }

    /// The job's name.
    pub fn name(&self) -> &str {
        self.shared.name()
    }

    /// The job's key.
    pub fn key(&self) -> JobKey {
        self.shared.key
    }

    /// When the job was submitted.
    pub fn submitted(&self) -> Instant {
        self.shared.submitted
    }

    /// Does the pool's part of it, for a while: what this thread hears itself need not wake it.
    fn hear_the_workers(&self, until: Option<Instant>) {
        let late = || until.is_some_and(|until| Instant::now() >= until);
        if !self.shared.is_answered()
            && let Some(mailbox) = self.mailbox.upgrade()
        {
            mailbox.hear_until(|| self.shared.is_answered() || late());
        }
    }

    /// When the ticket was answered.
    pub fn answered(&self) -> Option<Instant> {
        self.shared.lock().answer.as_ref().map(|answer| answer.at)
    }
}

impl Future for Ticket {
    type Output = Result<Artefact, JobError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut held = self.shared.lock();
        if let Some(answer) = &held.answer {
            return Poll::Ready(answer.result.clone());
        }
        let waker = context.waker();
        let is_known = |listener: &Listener| matches!(listener, Listener::Waker(known) if known.will_wake(waker));
        if !held.listeners.iter().any(is_known) {
            held.listeners.push(Listener::Waker(waker.clone()));
        }
        Poll::Pending
    }
}

impl Promise {
    pub(crate) fn number(&self) -> u64 {
        self.shared.number
    }

    pub(crate) fn name(&self) -> &str {
        self.shared.name()
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
        if self.shared.lock().answer.is_none() {
            let job = self.shared.name().to_owned();
            self.shared.answer(Err(JobError::Closed { job }));
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("name", &self.name())
            .field("key", &self.shared.key)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name())
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn name(&self) -> &str {
        self.name.get_or_init(|| unnamed(self.kind, self.key))
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_answered(&self) -> bool {
        self.lock().answer.is_some()
    }

    /// The first answer stands.
    fn answer(&self, result: Result<Artefact, JobError>) {
        let mut held = self.lock();
        if held.answer.is_some() {
            return;
        }
        let listeners = std::mem::take(&mut held.listeners);
        let told = (!listeners.is_empty()).then(|| result.clone());
        held.answer = Some(Answer {
            result,
            at: Instant::now(),
        });
        let waiting = held.waiting > 0;
        drop(held);
        if waiting {
            self.answered.notify_all();
        }
        // Outside the lock: who is told may look at the ticket.
        for (listener, result) in listeners.into_iter().zip(told.iter().cycle()) {
            let told = catch_unwind(AssertUnwindSafe(|| {
                while_answering(|| match listener {
                    Listener::Waker(waker) => waker.wake(),
                    Listener::Call(tell) => tell(result),
                });
            }));
            // The panic hook has reported it, and it is the listener's own affair.
            drop(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn pair() -> (Ticket, Promise) {
        let shared = Arc::new(Shared {
            number: 1,
            name: OnceLock::from("job".to_owned()),
            kind: "echo",
            key: JobKey::from_bytes([0; 32]),
            submitted: Instant::now(),
            held: Mutex::default(),
            answered: Condvar::new(),
        });
        let promise = Promise {
            shared: Arc::clone(&shared),
            _pass: None,
        };
        let mailbox = Weak::new();
        (Ticket { shared, mailbox }, promise)
    }

    fn closed() -> JobError {
        let job = "job".to_owned();
        JobError::Closed { job }
    }

    #[test]
    fn a_ticket_wakes_each_task_once_and_stays_answered() {
        let (mut ticket, promise) = pair();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        for _ in 0..3 {
            assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        }
        let other = Arc::new(Count(AtomicUsize::new(0)));
        let theirs = Waker::from(Arc::clone(&other));
        let mut clone = ticket.clone();
        assert!(
            Pin::new(&mut clone)
                .poll(&mut Context::from_waker(&theirs))
                .is_pending()
        );
        promise.keep(Err(closed()));
        assert_eq!(
            (
                count.0.load(Ordering::SeqCst),
                other.0.load(Ordering::SeqCst)
            ),
            (1, 1)
        );
        for _ in 0..2 {
            assert_eq!(
                Pin::new(&mut ticket).poll(&mut context),
                Poll::Ready(Err(closed()))
            );
        }
    }

    #[test]
    fn functions_are_told_before_and_after_and_one_that_panics_harms_nobody() {
        let (ticket, promise) = pair();
        let told = Arc::new(AtomicUsize::new(0));
        let tell = |told: &Arc<AtomicUsize>, ticket: &Ticket| {
            let (told, ticket) = (Arc::clone(told), ticket.clone());
            move |result: &Result<Artefact, JobError>| {
                assert_eq!(result, &Err(closed()));
                assert_eq!(ticket.try_get(), Some(Err(closed())));
                told.fetch_add(1, Ordering::SeqCst);
            }
        };
        ticket.on_answer(tell(&told, &ticket));
        ticket.on_answer(|_| std::panic::resume_unwind(Box::new("a mistake")));
        ticket.on_answer(tell(&told, &ticket));
        assert_eq!(told.load(Ordering::SeqCst), 0);
        drop(promise);
        assert_eq!(told.load(Ordering::SeqCst), 2);
        ticket.on_answer(tell(&told, &ticket));
        assert_eq!(told.load(Ordering::SeqCst), 3);
    }
}
