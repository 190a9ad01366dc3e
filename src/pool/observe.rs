//! What the pool tells about itself: counters, and one report per step of a job or a worker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::hash::JobKey;
use crate::wire::Note;

/// Counters since the pool was built.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs submitted.
    pub requested: u64,
    /// Jobs a worker made.
    pub compiled: u64,
    /// Jobs answered from the cache.
    pub from_cache: u64,
    /// Jobs that joined an identical one under way.
    pub deduped: u64,
    /// Jobs that ended with an error other than a cancel.
    pub failed: u64,
    /// Jobs cancelled before their result.
    pub cancelled: u64,
    /// Deaths of workers that had a job.
    pub crashes: u64,
    /// Jobs given to a second worker after their first one died.
    pub retried: u64,
    /// Worker processes (or worker threads) started.
    pub workers_started: u64,
    /// Of these, stopped because they had nothing to do.
    pub workers_retired: u64,
    /// Cache entries that were damaged, and set aside.
    pub cache_corrupt: u64,
    /// Results that could not be written to the cache, and were delivered all the same.
    pub cache_unwritten: u64,
    /// Why the last of them could not be written.
    #[serde(skip)]
    pub cache_complaint: Option<String>,
    /// Seconds that workers spent on jobs, added up.
    pub seconds: f64,
    /// What jobs counted ([`Note::Count`]), by name.
    pub counted: BTreeMap<String, u64>,
}

/// One step of one job.
#[derive(Clone, Debug)]
pub struct Report {
    /// When.
    pub at: Instant,
    /// The number of the ticket, which no other ticket of the pool has.
    pub ticket: u64,
    /// The job's name.
    pub job: String,
    /// The job's key.
    pub key: JobKey,
    /// The step.
    pub status: Status,
}

/// The steps of a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// It was submitted.
    Submitted,
    /// An identical job is under way, and this one shares its result.
    Joined,
    /// The cache does not have it, and it waits for a worker.
    Queued,
    /// Another pool that shares the cache is making it.
    Elsewhere,
    /// A worker has it.
    Started {
        /// The worker's place in the pool.
        worker: usize,
    },
    /// It tells something.
    Note {
        /// The worker that has it.
        worker: usize,
        /// What it tells.
        note: Note,
    },
    /// It runs for longer than the pool's [heartbeat](crate::Builder::heartbeat); told at each beat.
    Running {
        /// The worker that has it.
        worker: usize,
        /// Since when.
        elapsed: Duration,
        /// Its phase, and for how long it has been in it, if it has told one.
        phase: Option<(String, Duration)>,
    },
    /// Its worker died, and it waits for another one.
    Retried {
        /// How the worker died.
        because: String,
    },
    /// It has a result.
    Done {
        /// Whether the cache had it.
        from_cache: bool,
    },
    /// It has an error.
    Failed {
        /// The error, in words.
        because: String,
    },
    /// It was cancelled.
    Cancelled,
}

/// One step of one worker.
#[derive(Clone, Debug)]
pub struct WorkerReport {
    /// When.
    pub at: Instant,
    /// The worker's place in the pool.
    pub worker: usize,
    /// The step.
    pub status: WorkerStatus,
}

/// The steps of a worker.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkerStatus {
    /// It is being started.
    Starting,
    /// It can take jobs.
    Ready {
        /// Its process: this one, if the worker is a thread.
        process: u32,
    },
    /// It has ended.
    Ended {
        /// How, in words that follow "the worker".
        how: String,
    },
}

/// Hears every [`Report`]. Called on the submitting thread for [`Status::Submitted`], and for the
/// others on the pool's own thread or on one that asks something of the pool or waits for a ticket;
/// always one at a time.
/// It must be quick and must not wait for a ticket.
pub trait Observer: Send + Sync {
    /// Takes one report of a job.
    fn report(&self, report: &Report);

    /// Takes one report of a worker.
    fn worker(&self, _report: &WorkerReport) {}
}

impl<F: Fn(&Report) + Send + Sync> Observer for F {
    fn report(&self, report: &Report) {
        self(report);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn report(&self, report: &Report) {
        self.0.report(report);
        self.1.report(report);
    }

    fn worker(&self, report: &WorkerReport) {
        self.0.worker(report);
        self.1.worker(report);
    }
}

impl<O: Observer> Observer for Option<O> {
    fn report(&self, report: &Report) {
        if let Some(observer) = self {
            observer.report(report);
        }
    }

    fn worker(&self, report: &WorkerReport) {
        if let Some(observer) = self {
            observer.worker(report);
        }
    }
}
