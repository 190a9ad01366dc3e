//! A record of one run as a picture: passes, jobs, phases, workers, cache, over time.
//!
//! It is a file in Chrome's trace format, which <https://ui.perfetto.dev> and `chrome://tracing` show. One line is planish itself, with a
//! span for each pass; one is the cache, with a mark for each hit; one is each place of the pool, with a span for each job and the phases of
//! the job in it. Each job besides has a line of its own from being submitted to being answered, waiting included.
//!
//! A [`Trace`] is told by being the [`Instrument`] of the passes and the [`Observer`] of the pool. What has not ended when the picture is
//! made is drawn up to that moment and marked as unfinished, so that the record of a run that fails is whole as well. A run that is killed
//! makes no picture any more: for it a [`Trace`] can be kept in a file as it grows, and what is there at any time can be shown, too.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use planish_ir::GraphModule;
use planish_passes::{Instrument, Pass, PassReport};
use planish_pool::wire::Note;
use planish_pool::{JobKey, Observer, Report, Status, WorkerReport, WorkerStatus};

use crate::file;

mod event;

use event::{Args, Event, Journal, Lane, args};

/// A record of one run. Clones write into the same one.
#[derive(Clone, Debug)]
pub struct Trace {
    began: Instant,
    book: Arc<Mutex<Book>>,
}

/// A part of the run; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the span ends when this is dropped"]
pub struct Span {
    trace: Trace,
    depth: usize,
}

#[derive(Debug, Default)]
struct Book {
    events: Vec<Event>,
    /// Where they are kept as they happen.
    journal: Option<Journal>,
    lanes: BTreeSet<Lane>,
    /// What planish is at, the innermost last.
    open: Vec<Open>,
    jobs: BTreeMap<u64, Job>,
    /// When workers began to start.
    starting: BTreeMap<usize, f64>,
    /// When the last job of a worker ended: jobs that are sent ahead begin then.
    free: BTreeMap<usize, f64>,
    queued: usize,
    running: usize,
}

#[derive(Debug)]
struct Open {
    name: Cow<'static, str>,
    category: &'static str,
    since: f64,
}

#[derive(Debug)]
struct Job {
    name: String,
    key: JobKey,
    waits: bool,
    work: Option<Work>,
}

/// A job on a worker.
#[derive(Debug)]
struct Work {
    worker: usize,
    since: f64,
    phase: Option<(String, f64)>,
}

impl Trace {
    /// An empty record, which begins now.
    #[expect(
        clippy::new_without_default,
        reason = "a record that begins by default would begin at a time that nobody meant"
    )]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            book: Arc::default(),
        }
    }

    /// An empty record, which is kept in this file as it grows, until the whole [file](Self::json) takes its place. A pipe or a terminal
    /// gets the whole alone.
    pub fn kept_in(path: &Path) -> io::Result<Self> {
        let trace = Self::new();
        if !file::is_device(path) {
            trace.book().journal = Some(Journal::create(path)?);
        }
        Ok(trace)
    }

    /// Begins a part of the run, within the one that is open.
    pub fn span(&self, name: &'static str) -> Span {
        let depth = self.begin("stage", name.into());
        Span {
            trace: self.clone(),
            depth,
        }
    }

    /// The file, as things stand.
    pub fn json(&self) -> Vec<u8> {
        let now = self.at(Instant::now());
        let mut book = self.book();
        let (length, jobs) = (book.events.len(), std::mem::take(&mut book.jobs));
        let journal = book.journal.take();
        let unfinished = args([("unfinished", true.into())]);
        let open = book.open.iter().map(|open| {
            let time = (open.since, now);
            Event::span(
                Lane::Main,
                open.category,
                open.name.clone(),
                time,
                unfinished.clone(),
            )
        });
        let open: Vec<Event> = open.collect();
        book.events.extend(open);
        for (ticket, job) in &jobs {
            if let Some(work) = &job.work {
                book.work_ended(job, work, now, unfinished.clone());
            }
            let end = Event::edge("e", job.name.clone(), *ticket, now, unfinished.clone());
            book.events.push(end);
        }
        let file = event::file(book.events.clone(), book.lanes.iter().copied());
        book.events.truncate(length);
        book.jobs = jobs;
        book.journal = journal;
        file
    }

    fn begin(&self, category: &'static str, name: Cow<'static, str>) -> usize {
        let since = self.at(Instant::now());
        let mut book = self.book();
        book.lane(Lane::Main);
        book.keep(&Event::begin(Lane::Main, category, name.clone(), since));
        book.open.push(Open {
            name,
            category,
            since,
        });
        book.open.len() - 1
    }

    /// Ends what is open from this depth on.
    fn end(&self, depth: usize, args: &Args) {
        let now = self.at(Instant::now());
        let mut book = self.book();
        while book.open.len() > depth
            && let Some(open) = book.open.pop()
        {
            let args = if book.open.len() == depth {
                args.clone()
            } else {
                Args::new()
            };
            let (category, name) = (open.category, open.name);
            let end = Event::end(Lane::Main, category, name.clone(), now, args.clone());
            book.keep(&end);
            let time = (open.since, now);
            book.events
                .push(Event::span(Lane::Main, category, name, time, args));
        }
    }

    /// Ends a pass, or a stage after the passes, if one is open.
    fn end_of(&self, categories: &[&str], args: &Args) {
        let book = self.book();
        let open = book.open.iter();
        let depth = open
            .take_while(|open| !categories.contains(&open.category))
            .count();
        drop(book);
        self.end(depth, args);
    }

    fn at(&self, time: Instant) -> f64 {
        time.saturating_duration_since(self.began).as_nanos() as f64 / 1e3
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.trace.end(self.depth, &Args::new());
    }
}

impl Instrument for Trace {
    fn before_pass(&mut self, pass: &dyn Pass, _: &GraphModule) {
        self.begin("pass", pass.name().into());
    }

    fn after_pass(&mut self, _: &dyn Pass, _: &GraphModule, report: &PassReport) {
        // What is left of the time is verifying, proving, and asking for kernels.
        let own = report.end.saturating_sub(report.start);
        let known = args([
            ("rewrites", report.rewrites.into()),
            ("nodes before", report.nodes_before.into()),
            ("nodes after", report.nodes_after.into()),
            ("kernels asked for", report.kernels_requested.into()),
            ("milliseconds without verifying", milliseconds(own).into()),
        ]);
        self.end_of(&["pass"], &known);
    }

    fn stage(&mut self, what: &'static str) {
        self.end_of(&["pass", "after the passes"], &Args::new());
        self.begin("after the passes", what.into());
    }
}

impl Observer for Trace {
    fn report(&self, report: &Report) {
        let at = self.at(report.at);
        self.book().note(report, at);
    }

    fn worker(&self, report: &WorkerReport) {
        let (at, worker) = (self.at(report.at), report.worker);
        let lane = Lane::Worker(worker);
        let mut book = self.book();
        book.lane(lane);
        match &report.status {
            WorkerStatus::Starting => {
                book.starting.insert(worker, at);
            }
            WorkerStatus::Ready { process } => {
                let since = book.starting.remove(&worker).unwrap_or(at);
                let known = args([("process", (*process).into())]);
                let start = Event::span(lane, "worker", "start", (since, at), known);
                book.push(start);
                book.free.insert(worker, at);
            }
            WorkerStatus::Ended { how } => {
                let known = args([("how", how.as_str().into())]);
                book.push(Event::instant(lane, "worker", "end", at, known));
            }
            _ => {}
        }
    }
}

impl Book {
    fn push(&mut self, event: Event) {
        self.keep(&event);
        self.events.push(event);
    }

    /// Writes an event to the file that grows. One that cannot be written to is given up: the whole file will say why.
    fn keep(&mut self, event: &Event) {
        let journal = self.journal.as_mut();
        if journal.is_some_and(|journal| journal.write(event).is_err()) {
            self.journal = None;
        }
    }

    fn lane(&mut self, lane: Lane) {
        if self.lanes.insert(lane) {
            self.keep(&Event::title(lane));
        }
    }

    fn note(&mut self, report: &Report, at: f64) {
        match &report.status {
            Status::Submitted => self.submitted(report, at),
            Status::Queued => {
                if let Some(job) = self.jobs.get_mut(&report.ticket) {
                    job.waits = true;
                    self.queued += 1;
                    self.count(at);
                }
            }
            Status::Started { worker } => self.started(report, *worker, at),
            Status::Note { worker, note } => self.noted(report.ticket, *worker, note, at),
            Status::Retried { because } => {
                let known = args([("ended", because.as_str().into())]);
                self.stop(report.ticket, at, known);
                if let Some(job) = self.jobs.get_mut(&report.ticket) {
                    job.waits = true;
                    self.queued += 1;
                }
                self.count(at);
            }
            Status::Done { from_cache } => {
                if *from_cache {
                    self.lane(Lane::Cache);
                    let name = format!("hit {}", report.job);
                    let known = args([("key", report.key.to_string().into())]);
                    self.push(Event::instant(Lane::Cache, "cache", name, at, known));
                }
                let result = if *from_cache {
                    "from the cache"
                } else {
                    "made"
                };
                self.answered(report.ticket, at, &args([("result", result.into())]));
            }
            Status::Failed { because } => {
                let known = [
                    ("result", "failed".into()),
                    ("because", because.as_str().into()),
                ];
                self.answered(report.ticket, at, &args(known));
            }
            Status::Cancelled => {
                self.answered(report.ticket, at, &args([("result", "cancelled".into())]));
            }
            _ => {}
        }
    }

    fn submitted(&mut self, report: &Report, at: f64) {
        self.lane(Lane::Main);
        let known = args([("key", report.key.to_string().into())]);
        let begin = Event::edge("b", report.job.clone(), report.ticket, at, known);
        self.push(begin);
        let job = Job {
            name: report.job.clone(),
            key: report.key,
            waits: false,
            work: None,
        };
        self.jobs.insert(report.ticket, job);
    }

    fn started(&mut self, report: &Report, worker: usize, at: f64) {
        self.lane(Lane::Worker(worker));
        // Tickets that share a run share its place on the worker.
        let same = |job: &Job| {
            job.key == report.key && job.work.as_ref().is_some_and(|work| work.worker == worker)
        };
        let shared = self.jobs.values().any(same);
        let Some(job) = self.jobs.get_mut(&report.ticket) else {
            return;
        };
        self.queued -= usize::from(std::mem::take(&mut job.waits));
        if !shared {
            job.work = Some(Work {
                worker,
                since: at,
                phase: None,
            });
            self.running += 1;
        }
        self.count(at);
    }

    fn noted(&mut self, ticket: u64, worker: usize, note: &Note, at: f64) {
        match note {
            Note::Phase { name } => {
                let work = self.jobs.get_mut(&ticket).and_then(|job| job.work.as_mut());
                let before = work.and_then(|work| work.phase.replace((name.clone(), at)));
                if let Some((name, since)) = before {
                    let lane = Lane::Worker(worker);
                    self.push(Event::span(lane, "phase", name, (since, at), Args::new()));
                }
            }
            Note::Log {
                level,
                target,
                text,
            } => {
                let known = args([
                    ("level", level.to_string().into()),
                    ("target", target.as_str().into()),
                ]);
                let log = Event::instant(Lane::Worker(worker), "log", text.clone(), at, known);
                self.push(log);
            }
            _ => {}
        }
    }

    /// The worker does not have the job any more.
    fn stop(&mut self, ticket: u64, at: f64, known: Args) {
        let Some(mut job) = self.jobs.remove(&ticket) else {
            return;
        };
        if let Some(work) = job.work.take() {
            self.work_ended(&job, &work, at, known);
            self.free.insert(work.worker, at);
            self.running -= 1;
        }
        self.queued -= usize::from(std::mem::take(&mut job.waits));
        self.jobs.insert(ticket, job);
    }

    fn answered(&mut self, ticket: u64, at: f64, known: &Args) {
        self.stop(ticket, at, known.clone());
        if let Some(job) = self.jobs.remove(&ticket) {
            self.push(Event::edge("e", job.name, ticket, at, known.clone()));
        }
        self.count(at);
    }

    fn work_ended(&mut self, job: &Job, work: &Work, at: f64, known: Args) {
        let lane = Lane::Worker(work.worker);
        let free = self.free.get(&work.worker).copied().unwrap_or(0.0);
        let since = work.since.max(free);
        self.push(Event::span(
            lane,
            "job",
            job.name.clone(),
            (since, at),
            known,
        ));
        if let Some((name, since)) = &work.phase {
            let phase = Event::span(lane, "phase", name.clone(), (*since, at), Args::new());
            self.push(phase);
        }
    }

    fn count(&mut self, at: f64) {
        let known = args([
            ("queued", self.queued.into()),
            ("running", self.running.into()),
        ]);
        self.push(Event::counters("jobs", at, known));
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests;
