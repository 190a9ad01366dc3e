//! What the pool tells: counters, reports of jobs and workers, and a heartbeat for jobs that take long.
//!
//! Nothing is made or looked up for reports that nobody hears.

use std::sync::PoisonError;
use std::time::Instant;

use super::hear::Stage;
use super::{Core, FIRST_JOB};
use crate::error::JobError;
use crate::job::Artefact;
use crate::observe::{Observer as _, Report, Stats, Status, WorkerReport, WorkerStatus};
use crate::spans::Spans;
use crate::ticket::Promise;
use crate::wire::Note;

/// When jobs that take long are told of again.
#[derive(Debug, Default)]
pub(super) struct Heartbeat(Option<Instant>);

impl Core {
    /// Whether anybody hears of jobs.
    pub(super) fn is_heard(&self) -> bool {
        self.ears.observer.is_some() || Spans::are_heard()
    }

    pub(super) fn conclude(&self, promise: &Promise, result: &Result<Artefact, JobError>) {
        self.count(|stats| match result {
            Ok(artefact) if artefact.from_cache => stats.from_cache += 1,
            Ok(_) => {}
            Err(JobError::Cancelled { .. }) => stats.cancelled += 1,
            Err(_) => stats.failed += 1,
        });
        self.tell(promise, || match result {
            Ok(artefact) => Status::Done {
                from_cache: artefact.from_cache,
            },
            Err(JobError::Cancelled { .. }) => Status::Cancelled,
            Err(error) => Status::Failed {
                because: error.to_string(),
            },
        });
    }

    pub(super) fn report(&self, tickets: &[u64], status: &Status) {
        if !self.is_heard() {
            return;
        }
        let promises = tickets
            .iter()
            .filter_map(|ticket| self.promises.get(ticket));
        promises.for_each(|promise| self.tell(promise, || status.clone()));
    }

    pub(super) fn tell_of_worker(&self, worker: usize, status: impl FnOnce() -> WorkerStatus) {
        if let Some(observer) = &self.ears.observer {
            observer.worker(&WorkerReport {
                at: Instant::now(),
                worker,
                status: status(),
            });
        }
    }

    /// A running job tells something. What a job tells that nobody waits for is not heard.
    pub(super) fn take_note(&mut self, slot: usize, run: u64, note: Note) {
        match &note {
            Note::Phase { name } => {
                if let Some(worker) = &mut self.workers[slot] {
                    worker.phase = Some((name.clone(), Instant::now()));
                }
            }
            // What is told of the result goes with it.
            Note::Used { usage } => {
                self.learned.entry(run).or_default().usage = *usage;
                return;
            }
            Note::Proven { on } => {
                self.learned.entry(run).or_default().proven = Some(on.clone());
                return;
            }
            Note::Count { name, amount } => {
                self.count(|stats| *stats.counted.entry(name.clone()).or_default() += amount);
            }
            Note::Log { .. } => {}
        }
        if run != FIRST_JOB {
            let status = Status::Note { worker: slot, note };
            self.report(self.state.tickets(run), &status);
        }
    }

    /// How many workers can take jobs has changed.
    pub(super) fn count_ready(&self) {
        let workers = self.workers.iter().flatten();
        let ready = workers.filter(|worker| worker.stage == Stage::Ready);
        self.ears.readiness.set(ready.count());
    }

    /// Whether the supervisor does not know yet that jobs are to be told of.
    pub(super) fn heartbeat_is_needed(&self) -> bool {
        self.is_heard() && self.heartbeat.0.is_none() && self.state.running().next().is_some()
    }

    /// The time of the next heartbeat, while a job runs.
    pub(super) fn next_beat(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_heard() || self.state.running().next().is_none() {
            self.heartbeat.0 = None;
        } else if self.heartbeat.0.is_none() {
            self.heartbeat.0 = now.checked_add(self.ears.heartbeat);
        }
        self.heartbeat.0
    }

    /// Tells of the jobs that have run for longer than a heartbeat, if it is time.
    pub(super) fn beat(&mut self, now: Instant) {
        if self.heartbeat.0.is_none_or(|time| now < time) {
            return;
        }
        self.heartbeat.0 = None;
        for (slot, run, since) in self.state.running() {
            let elapsed = now.saturating_duration_since(since);
            if elapsed < self.ears.heartbeat {
                continue;
            }
            let worker = self.workers[slot].as_ref();
            let phase = worker.and_then(|worker| worker.phase.clone());
            let status = Status::Running {
                worker: slot,
                elapsed,
                phase: phase.map(|(name, since)| (name, now.saturating_duration_since(since))),
            };
            self.report(self.state.tickets(run), &status);
        }
    }

    /// Lets those go who wait until nothing is under way.
    pub(super) fn tell_who_waits_for_the_end(&mut self) {
        if self.promises.is_empty() {
            // Dropping them is what tells them.
            self.drains.clear();
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Stats)) {
        self.counted(change);
    }

    pub(super) fn counted<T>(&self, change: impl FnOnce(&mut Stats) -> T) -> T {
        change(
            &mut self
                .ears
                .stats
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn tell(&self, promise: &Promise, status: impl FnOnce() -> Status) {
        if !self.is_heard() {
            return;
        }
        let report = Report {
            at: Instant::now(),
            ticket: promise.number(),
            job: promise.name().to_owned(),
            key: promise.key(),
            status: status(),
        };
        if let Some(observer) = &self.ears.observer {
            observer.report(&report);
        }
        if Spans::are_heard() {
            self.ears.spans.report(&report);
        }
    }
}
