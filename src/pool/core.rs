//! What stands behind the pool's lock: turns what happens into events for the machine, and its
//! actions into system calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::cache::{Cache, Claim, Entry};
use crate::dispatch::{Action, End, Event, Rules, State};
use crate::fork_server::ForkServer;
use crate::job::{Artefact, Job, Limits};
use crate::mailbox::Message;
use crate::observe::{Observer, Stats, Status, WorkerStatus};
use crate::pool::Start;
use crate::quarantine::Quarantine;
use crate::readiness::Readiness;
use crate::remains::Usage;
use crate::sandbox::Sandbox;
use crate::scratch::Scratch;
use crate::spans::Spans;
use crate::ticket::Promise;
use crate::verdict::job_error;
use crate::watch::{Seen, Watch};
use crate::width::Width;
use crate::wire::{FrameKind, WireError};
use crate::worker::Handlers;
use crate::worker_proc::{Surroundings, WorkerCommand, WorkerProc};

mod hear;
mod store;
mod story;

use hear::Worker;
use store::Learned;
use story::Heartbeat;

/// Stands for the job that every worker begins with; tickets are counted from 1.
const FIRST_JOB: u64 = 0;

/// How the supervisor makes workers.
#[derive(Debug)]
pub(crate) struct Means {
    pub command: WorkerCommand,
    /// A thread of this process instead of processes.
    pub inline: bool,
    /// How processes are started.
    pub start: Start,
    pub scratch: Scratch,
    pub cache: Option<Cache>,
    /// Most bytes that the cache may have when the pool is closed.
    pub cache_limit: u64,
    /// The wall limit of jobs that have none of their own.
    pub wall: Duration,
    /// What every worker does before it is ready.
    pub first_job: Option<Job>,
    /// How compilers are confined.
    pub sandbox: Sandbox,
    /// How many of them may run at once.
    pub width: Width,
}

/// Whom the pool tells what.
pub(crate) struct Ears {
    pub stats: Arc<Mutex<Stats>>,
    pub readiness: Arc<Readiness>,
    pub observer: Option<Arc<dyn Observer>>,
    pub spans: Spans,
    /// How often jobs that take long are told of.
    pub heartbeat: Duration,
}

/// The pool behind its lock.
///
/// Any thread may bring messages. What ties a worker to the thread that acts (starting it, waiting
/// for it, reaping it) is left to the supervisor's thread, which calls [`Core::supervise`].
pub(crate) struct Core {
    state: State,
    means: Means,
    workers: Vec<Option<Worker>>,
    /// Workers that have ended and been reaped. What is left of them is cleared away when those that are needed in their place were started.
    ended: Vec<Worker>,
    fork_server: Option<ForkServer>,
    /// Workers to start: their slots and generations.
    starts: Vec<(usize, u64)>,
    jobs: BTreeMap<u64, Box<Job>>,
    promises: BTreeMap<u64, Promise>,
    /// What a lookup found, until its run is resolved.
    found: BTreeMap<u64, Entry>,
    /// What workers have told of the results of runs.
    learned: BTreeMap<u64, Learned>,
    /// The right to make what a run makes, among all pools that share the cache.
    claims: BTreeMap<u64, Claim>,
    /// Runs that wait for other pools.
    waits: BTreeSet<u64>,
    quarantine: Quarantine,
    events: VecDeque<Event>,
    /// Who waits until nothing is under way.
    drains: Vec<Sender<()>>,
    ears: Ears,
    heartbeat: Heartbeat,
    /// When the supervisor wakes of itself.
    armed: Option<Instant>,
    closed: bool,
}

impl Core {
    pub(crate) fn new(rules: Rules, means: Means, ears: Ears) -> Self {
        let room = means.cache.as_ref().map(Cache::quarantine);
        let width = Event::Width(means.width.at_first());
        Self {
            workers: (0..rules.slots).map(|_| None).collect(),
            state: State::new(rules),
            quarantine: Quarantine::new(room),
            means,
            starts: Vec::new(),
            ended: Vec::new(),
            fork_server: None,
            jobs: BTreeMap::new(),
            promises: BTreeMap::new(),
            found: BTreeMap::new(),
            learned: BTreeMap::new(),
            claims: BTreeMap::new(),
            waits: BTreeSet::new(),
            events: VecDeque::from([width]),
            drains: Vec::new(),
            heartbeat: Heartbeat::default(),
            ears,
            armed: None,
            closed: false,
        }
    }

    /// Handles what has been asked, and sends what goes without waiting.
    pub(crate) fn take(&mut self, watch: &Watch, messages: Vec<Message>) {
        for message in messages {
            // Dropping it answers it.
            if self.closed {
                continue;
            }
            let event = match message {
                Message::Submit {
                    ticket,
                    job,
                    promise,
                } => {
                    let wish = job.wish(self.means.wall);
                    let key = promise.key();
                    self.jobs.insert(ticket, job);
                    self.promises.insert(ticket, promise);
                    Event::Submit { ticket, key, wish }
                }
                Message::Cancel(ticket) => Event::Cancel { ticket },
                Message::Warm => Event::Warm,
                Message::Quiesce => Event::Quiesce,
                Message::Drain(done) => {
                    self.drains.push(done);
                    continue;
                }
                Message::Close { give_up, by } => Event::Close { give_up, by },
            };
            self.events.push_back(event);
            self.handle_events();
        }
        self.measure();
        self.settle(watch);
    }

    /// Hears the workers that have said something.
    pub(crate) fn listen(&mut self, watch: &Watch, seen: &[Seen]) {
        for seen in seen {
            self.attend(watch, *seen);
        }
        self.measure();
        self.settle(watch);
    }

    /// Whether there is something to do that only the supervisor's thread can.
    pub(crate) fn needs_its_supervisor(&self) -> bool {
        let late = |deadline| self.armed.is_none_or(|armed| deadline < armed);
        self.closed
            || !self.starts.is_empty()
            || self.state.next_deadline().is_some_and(late)
            || self.next_pages().is_some_and(late)
            || self.heartbeat_is_needed()
    }

    /// What the supervisor's thread does when it wakes: hears the workers that have something to say,
    /// and starts those that are needed. True when the pool is closed.
    pub(crate) fn supervise(&mut self, watch: &Watch, seen: &[Seen]) -> bool {
        for seen in seen {
            self.attend(watch, *seen);
        }
        self.events.push_back(Event::Tick);
        self.handle_events();
        self.measure();
        // After everything that asks for workers: nobody else starts them.
        while let Some((slot, generation)) = self.starts.pop() {
            self.start(watch, slot, generation);
            self.handle_events();
        }
        self.settle(watch);
        self.ended.clear();
        let now = Instant::now();
        for worker in self.workers.iter_mut().flatten() {
            worker.proc.give_back_pages(now);
        }
        self.beat(now);
        self.closed
    }

    /// When the supervisor must wake of itself. A time that is set stays set until it has passed:
    /// jobs come and go without anybody having to be told.
    pub(crate) fn arm(&mut self, now: Instant) -> Option<Instant> {
        let still = self.armed.filter(|armed| *armed > now);
        let next = self.state.next_deadline().into_iter();
        let next = next.chain(self.next_beat(now)).chain(self.next_pages());
        self.armed = still.into_iter().chain(next).min();
        self.armed
    }

    /// Without its supervisor the pool is over: dropping the workers kills them, dropping the
    /// promises answers the tickets.
    pub(crate) fn give_up(&mut self) {
        self.closed = true;
        self.starts.clear();
        self.workers.iter_mut().for_each(|worker| *worker = None);
        self.ended.clear();
        self.fork_server = None;
        self.promises.clear();
        self.jobs.clear();
        self.claims.clear();
        self.drains.clear();
        self.ears.readiness.set(0);
    }

    /// When the next arena has been without payloads for so long that it needs no pages.
    fn next_pages(&self) -> Option<Instant> {
        let workers = self.workers.iter().flatten();
        workers
            .filter_map(|worker| worker.proc.pages_are_due())
            .min()
    }

    /// Looks how many compilers may run, while there are some.
    fn measure(&mut self) {
        let (running, waiting) = self.state.compilers();
        let now = Instant::now();
        let width = &mut self.means.width;
        let allowed = if waiting == 0 {
            width.relax(running)
        } else {
            width
                .is_due(now)
                .then(|| width.measure(now, running, waiting))
        };
        if let Some(allowed) = allowed {
            self.events.push_back(Event::Width(allowed));
            self.handle_events();
        }
    }

    /// After anything has happened: sends what there is, and lets those go who wait for the end.
    fn settle(&mut self, watch: &Watch) {
        for (slot, worker) in self.workers.iter_mut().enumerate() {
            if let Some(worker) = worker {
                worker.proc.flush();
                watch.room_to_write(slot, worker.generation, &mut worker.proc);
            }
        }
        self.tell_who_waits_for_the_end();
    }

    /// Reads what a worker sent, and reaps it if it has ended.
    fn attend(&mut self, watch: &Watch, seen: Seen) {
        let slot = seen.slot;
        let Some(worker) = &mut self.workers[slot] else {
            return;
        };
        if worker.generation != seen.generation {
            return;
        }
        if !worker.proc.silent {
            let (frames, error) = worker.proc.read(seen.ended);
            if worker.proc.silent {
                watch.stop_listening(&worker.proc);
            }
            let generation = worker.generation;
            for frame in frames {
                self.hear(slot, frame);
            }
            self.events.extend(error.map(|error| Event::Broken {
                slot,
                generation,
                error,
            }));
            self.handle_events();
        }
        let gone = self.workers[slot].as_ref().is_some_and(|worker| {
            seen.ended || (worker.proc.silent && worker.proc.ended().is_none())
        });
        if gone && let Some(mut worker) = self.workers[slot].take() {
            watch.remove(&worker.proc);
            let generation = worker.generation;
            let death = worker.proc.death();
            self.ended.push(worker);
            self.tell_of_worker(slot, || WorkerStatus::Ended {
                how: crate::error::ended(death.signal, death.code),
            });
            self.count_ready();
            self.events.push_back(Event::Gone {
                slot,
                generation,
                death,
            });
            self.handle_events();
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.events.pop_front() {
            for action in self.state.handle(Instant::now(), event) {
                self.act(action);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::LookUp { run } => self.look_up(run),
            Action::Join { ticket } => {
                self.jobs.remove(&ticket);
                self.count(|stats| stats.deduped += 1);
                self.report(&[ticket], &Status::Joined);
            }
            Action::Start { slot, generation } => self.starts.push((slot, generation)),
            Action::Give { slot, run, tickets } => self.give(slot, run, &tickets),
            Action::Forget { run } => {
                self.jobs.remove(&run);
                self.end_claim(run, None);
            }
            Action::Interrupt { slot, run } => {
                self.with_worker(slot, |proc| proc.send_bare(FrameKind::Cancel, run));
            }
            Action::Retire { .. } => self.count(|stats| stats.workers_retired += 1),
            Action::Stop { slot } => self.with_worker(slot, WorkerProc::stop),
            Action::Kill { slot } => self.with_worker(slot, WorkerProc::kill),
            Action::Abandon { slot } => self.workers[slot] = None,
            Action::Retry { tickets, death } => {
                self.count(|stats| {
                    stats.crashes += 1;
                    stats.retried += 1;
                });
                let because = match &death.cause {
                    Some(cause) => cause.to_string(),
                    None => format!(
                        "the worker {}",
                        crate::error::ended(death.signal, death.code)
                    ),
                };
                self.report(&tickets, &Status::Retried { because });
            }
            Action::Resolve { run, tickets, end } => self.resolve(run, &tickets, end),
            Action::Closed => {
                self.closed = true;
                self.fork_server = None;
                self.trim_cache();
            }
        }
    }

    fn start(&mut self, watch: &Watch, slot: usize, generation: u64) {
        self.tell_of_worker(slot, || WorkerStatus::Starting);
        let started = self.make_worker(slot, generation).and_then(|worker| {
            watch.add(slot, generation, &worker.proc)?;
            Ok(worker)
        });
        let command = &self.means.command;
        match started {
            Ok(worker) => {
                self.count(|stats| stats.workers_started += 1);
                self.workers[slot] = Some(worker);
            }
            Err(error) => {
                let reason = format!("{}: {error}", command.program().display());
                self.events.push_back(Event::NotStarted {
                    slot,
                    generation,
                    reason,
                });
            }
        }
    }

    fn make_worker(&mut self, slot: usize, generation: u64) -> std::io::Result<Worker> {
        let Means { command, cache, .. } = &self.means;
        let place = self.means.scratch.place(slot, generation);
        let surroundings = Surroundings {
            scratch: place.path(),
            cache: cache.as_ref().map(Cache::directory),
            phases: self.is_heard(),
            sandbox: self.means.sandbox,
        };
        let mut proc = if self.means.inline {
            WorkerProc::thread(command, surroundings, Handlers::standard())
        } else if self.means.start == Start::Fork {
            let copied = copied(&mut self.fork_server, command, surroundings);
            // Whatever is wrong with the server, a worker can be had without it.
            copied.or_else(|_| {
                self.fork_server = None;
                WorkerProc::process(command, surroundings)
            })
        } else {
            WorkerProc::process(command, surroundings)
        }?;
        if let Some(job) = &self.means.first_job {
            let order = job.order(self.means.wall);
            let sent = proc.order(FIRST_JOB, order);
            sent.map_err(std::io::Error::other)?;
        }
        let begins = self.means.first_job.is_some();
        Ok(Worker::new(generation, proc, place, begins))
    }

    fn give(&mut self, slot: usize, run: u64, tickets: &[u64]) {
        let Some(job) = self.jobs.get(&run) else {
            return;
        };
        let order = job.order(self.means.wall);
        let sent = match &mut self.workers[slot] {
            Some(worker) => {
                worker.phase = None;
                worker.proc.order(run, order)
            }
            None => Ok(()),
        };
        self.report(tickets, &Status::Started { worker: slot });
        if let Err(error) = sent {
            self.send_failed(slot, error);
        }
    }

    fn send_failed(&mut self, slot: usize, error: WireError) {
        if let Some(worker) = &self.workers[slot] {
            self.events.push_back(Event::Broken {
                slot,
                generation: worker.generation,
                error,
            });
        }
    }

    fn with_worker(&mut self, slot: usize, verb: impl FnOnce(&mut WorkerProc)) {
        if let Some(worker) = &mut self.workers[slot] {
            verb(&mut worker.proc);
        }
    }

    fn resolve(&mut self, run: u64, tickets: &[u64], end: End) {
        // One ticket of a shared run can be cancelled while the run goes on.
        let job = if end == End::Cancelled {
            None
        } else {
            self.jobs.remove(&run)
        };
        if matches!(end, End::Died(_)) {
            self.count(|stats| stats.crashes += 1);
        }
        self.note_deaths(run, tickets, &end);
        let found = self.found.remove(&run);
        let learned = self.learned.remove(&run).unwrap_or_default();
        let key = self
            .promises
            .get(tickets.first().unwrap_or(&run))
            .map(Promise::key);
        let result = match (end, key) {
            (End::Cached, Some(key)) => found
                .map(|entry| Artefact {
                    bytes: entry.bytes.into(),
                    digest: Some(entry.digest),
                    key,
                    from_cache: true,
                    seconds: 0.0,
                    usage: Usage::default(),
                    proven: entry.proven,
                })
                .ok_or(End::Closed),
            (End::Made { bytes, after }, Some(key)) => {
                Ok(self.made(job.as_deref(), key, bytes, after, learned))
            }
            (end, _) => Err(end),
        };
        if result != Err(End::Cancelled) {
            self.end_claim(run, result.as_ref().err());
        }
        let limits = self.limits(job.as_deref());
        for ticket in tickets {
            let Some(promise) = self.promises.remove(ticket) else {
                continue;
            };
            let result = result.clone();
            let result = result.map_err(|end| job_error(promise.name().to_owned(), &limits, end));
            self.conclude(&promise, &result);
            promise.keep(result);
        }
    }

    fn limits(&self, job: Option<&Job>) -> Limits {
        let limits = job.map(|job| job.all_limits(self.means.wall));
        limits.unwrap_or_default()
    }
}

/// A worker that is copied from the fork server, which is started if there is none.
fn copied(
    server: &mut Option<ForkServer>,
    command: &WorkerCommand,
    surroundings: Surroundings<'_>,
) -> std::io::Result<WorkerProc> {
    let server = match server {
        Some(server) => server,
        None => server.insert(ForkServer::start(command)?),
    };
    WorkerProc::copy(server, command, surroundings)
}
