//! The thread that owns all workers: turns what happens into events, and actions into system calls.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;

use crate::cache::{Cache, Lookup};
use crate::dispatch::{Action, End, Event, State};
use crate::error::JobError;
use crate::hash::Digest;
use crate::job::{Artefact, Job};
use crate::observe::{Observer, Report, Stats, Status};
use crate::os;
use crate::scratch::Scratch;
use crate::ticket::Promise;
use crate::verdict::{Clocks, job_error};
use crate::wire::{Failure, Frame, FrameKind, Order, Welcome, WireError};
use crate::worker::Handlers;
use crate::worker_proc::{WorkerCommand, WorkerProc};

/// What callers ask of the supervisor.
#[derive(Debug)]
pub(crate) enum Message {
    Submit {
        ticket: u64,
        job: Box<Job>,
        promise: Promise,
    },
    Cancel(u64),
    Warm,
    Close {
        by: Instant,
    },
}

/// The way to the supervisor: a queue, and a bell that wakes it from waiting for its workers.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Sender<Message>,
    bell: Arc<OwnedFd>,
}

/// The supervisor's end of a [`Mailbox`].
#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Receiver<Message>,
    bell: Arc<OwnedFd>,
}

/// How the supervisor makes workers.
#[derive(Debug)]
pub(crate) struct Means {
    pub command: WorkerCommand,
    /// A thread of this process instead of processes.
    pub inline: bool,
    pub scratch: Scratch,
    pub cache: Option<Cache>,
    /// The wall limit of jobs that have none of their own.
    pub wall: Duration,
}

/// The state of the thread.
pub(crate) struct Supervisor {
    state: State,
    inbox: Inbox,
    means: Means,
    workers: Vec<Option<Worker>>,
    jobs: BTreeMap<u64, Job>,
    promises: BTreeMap<u64, Promise>,
    /// What a lookup found, until its run is resolved.
    found: BTreeMap<u64, (Vec<u8>, Digest)>,
    events: VecDeque<Event>,
    stats: Arc<Mutex<Stats>>,
    observer: Option<Arc<dyn Observer>>,
    closed: bool,
}

struct Worker {
    generation: u64,
    welcomed: bool,
    proc: WorkerProc,
}

/// A mailbox and its other end.
pub(crate) fn mailbox() -> io::Result<(Mailbox, Inbox)> {
    let bell = Arc::new(rustix::event::eventfd(
        0,
        EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
    )?);
    let (sender, receiver) = channel();
    Ok((
        Mailbox {
            queue: sender,
            bell: Arc::clone(&bell),
        },
        Inbox {
            queue: receiver,
            bell,
        },
    ))
}

impl Mailbox {
    /// False if the supervisor is gone; the message, and the promise in it, are dropped then.
    pub(crate) fn send(&self, message: Message) -> bool {
        let sent = self.queue.send(message).is_ok();
        // A bell that cannot be rung more often is ringing.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        sent
    }
}

impl Supervisor {
    pub(crate) fn new(
        state: State,
        slots: usize,
        inbox: Inbox,
        means: Means,
        stats: Arc<Mutex<Stats>>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        Self {
            state,
            inbox,
            means,
            workers: (0..slots).map(|_| None).collect(),
            jobs: BTreeMap::new(),
            promises: BTreeMap::new(),
            found: BTreeMap::new(),
            events: VecDeque::new(),
            stats,
            observer,
            closed: false,
        }
    }

    /// Works until the pool is closed. The workers' parent is this thread: it must outlive them.
    pub(crate) fn run(mut self) {
        while !self.closed {
            if self.wait().is_err() {
                // Without poll nothing can be supervised. Dropping the workers kills them, dropping
                // the promises answers the tickets.
                return;
            }
            self.take_messages();
            for slot in 0..self.workers.len() {
                self.attend(slot);
            }
            self.events.push_back(Event::Tick);
            self.handle_events();
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = vec![(self.inbox.bell.as_fd(), false)];
        for worker in self.workers.iter().flatten() {
            if !worker.proc.silent {
                fds.push((worker.proc.socket(), worker.proc.wants_to_write()));
            }
            fds.extend(worker.proc.ended().map(|ended| (ended, false)));
        }
        os::wait_for(&fds, self.state.next_deadline()).map(|_| ())
    }

    fn take_messages(&mut self) {
        let _ = rustix::io::read(&self.inbox.bell, &mut [0; 8]);
        while let Ok(message) = self.inbox.queue.try_recv() {
            let event = match message {
                Message::Submit {
                    ticket,
                    job,
                    promise,
                } => {
                    let wall = job.wall(self.means.wall);
                    let key = promise.key();
                    self.jobs.insert(ticket, *job);
                    self.promises.insert(ticket, promise);
                    Event::Submit { ticket, key, wall }
                }
                Message::Cancel(ticket) => Event::Cancel { ticket },
                Message::Warm => Event::Warm,
                Message::Close { by } => Event::Close { by },
            };
            self.events.push_back(event);
            self.handle_events();
        }
    }

    /// Reads what a worker sent, and reaps it if it has ended.
    fn attend(&mut self, slot: usize) {
        let Some(worker) = &mut self.workers[slot] else {
            return;
        };
        // Asked before reading: what the worker sent before its end is read below.
        let ended = worker.proc.ended().map(|process| is_readable(process));
        worker.proc.flush();
        if !worker.proc.silent {
            let (frames, error) = worker.proc.read();
            for frame in frames {
                let event = worker.understand(slot, frame);
                self.events.push_back(event);
            }
            let generation = worker.generation;
            self.events.extend(error.map(|error| Event::Broken {
                slot,
                generation,
                error,
            }));
            self.handle_events();
        }
        let gone = self.workers[slot]
            .as_ref()
            .is_some_and(|worker| ended.unwrap_or(worker.proc.silent));
        if gone && let Some(worker) = self.workers[slot].take() {
            let generation = worker.generation;
            self.events.push_back(Event::Gone {
                slot,
                generation,
                death: worker.proc.death(),
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
            Action::Start { slot, generation } => self.start(slot, generation),
            Action::Give { slot, run, tickets } => self.give(slot, run, &tickets),
            Action::Forget { run } => drop(self.jobs.remove(&run)),
            Action::Interrupt { slot, run } => {
                self.send(slot, &Frame::new(FrameKind::Cancel, run, Vec::new()));
            }
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
            Action::Closed => self.closed = true,
        }
    }

    fn look_up(&mut self, run: u64) {
        let cacheable = self.jobs.get(&run).is_some_and(Job::cacheable);
        let key = self.promises.get(&run).map(Promise::key);
        let lookup = match (&self.means.cache, key) {
            (Some(cache), Some(key)) if cacheable => cache.get(&key),
            _ => Lookup::Missing,
        };
        let found = match lookup {
            Lookup::Found(bytes, digest) => {
                self.found.insert(run, (bytes, digest));
                true
            }
            Lookup::Missing => false,
            Lookup::Corrupt { .. } => {
                self.count(|stats| stats.cache_corrupt += 1);
                false
            }
        };
        self.events.push_back(Event::LookedUp { run, found });
    }

    fn start(&mut self, slot: usize, generation: u64) {
        let Means {
            command,
            scratch,
            inline,
            ..
        } = &self.means;
        let started = scratch.place(slot).and_then(|place| {
            if *inline {
                WorkerProc::thread(command, &place, Handlers::standard())
            } else {
                WorkerProc::process(command, &place)
            }
        });
        match started {
            Ok(proc) => {
                self.count(|stats| stats.workers_started += 1);
                self.workers[slot] = Some(Worker {
                    generation,
                    welcomed: false,
                    proc,
                });
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

    fn give(&mut self, slot: usize, run: u64, tickets: &[u64]) {
        let Some(job) = self.jobs.get(&run) else {
            return;
        };
        let order = Order {
            kind: job.kind().clone(),
            bounds: job.bounds(self.means.wall),
        };
        self.report(tickets, &Status::Started { worker: slot });
        match Frame::with(FrameKind::Job, run, &order) {
            Ok(frame) => self.send(slot, &frame),
            Err(error) => self.send_failed(slot, error),
        }
    }

    fn send(&mut self, slot: usize, frame: &Frame) {
        if let Some(worker) = &mut self.workers[slot]
            && let Err(error) = worker.proc.send(frame)
        {
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
        let found = self.found.remove(&run);
        let key = self
            .promises
            .get(tickets.first().unwrap_or(&run))
            .map(Promise::key);
        let result = match (end, key) {
            (End::Cached, Some(key)) => found
                .map(|(bytes, digest)| Artefact {
                    bytes: bytes.into(),
                    digest,
                    key,
                    from_cache: true,
                    seconds: 0.0,
                })
                .ok_or(End::Closed),
            (End::Made { bytes, after }, Some(key)) => {
                Ok(self.made(job.as_ref(), key, bytes, after))
            }
            (end, _) => Err(end),
        };
        let clocks = Clocks {
            wall: job
                .as_ref()
                .map_or(self.means.wall, |job| job.wall(self.means.wall)),
            cpu: job.as_ref().map_or(Duration::ZERO, Job::cpu_limit),
        };
        for ticket in tickets {
            let Some(promise) = self.promises.remove(ticket) else {
                continue;
            };
            let name = promise.name().to_owned();
            let result = result.clone().map_err(|end| job_error(name, clocks, end));
            self.conclude(&promise, &result);
            promise.keep(result);
        }
    }

    /// Stores a fresh result.
    fn made(
        &self,
        job: Option<&Job>,
        key: crate::JobKey,
        bytes: Vec<u8>,
        after: Duration,
    ) -> Artefact {
        let seconds = after.as_secs_f64();
        self.count(|stats| {
            stats.compiled += 1;
            stats.seconds += seconds;
        });
        let stored = match &self.means.cache {
            Some(cache) if job.is_some_and(Job::cacheable) => cache.put(&key, &bytes),
            _ => Ok(Digest::of(&bytes)),
        };
        let digest = stored.unwrap_or_else(|error| {
            self.count(|stats| {
                stats.cache_unwritten += 1;
                stats.cache_complaint = Some(error.to_string());
            });
            Digest::of(&bytes)
        });
        Artefact {
            bytes: bytes.into(),
            digest,
            key,
            from_cache: false,
            seconds,
        }
    }

    fn conclude(&self, promise: &Promise, result: &Result<Artefact, JobError>) {
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

    fn report(&self, tickets: &[u64], status: &Status) {
        for promise in tickets
            .iter()
            .filter_map(|ticket| self.promises.get(ticket))
        {
            self.tell(promise, || status.clone());
        }
    }

    fn tell(&self, promise: &Promise, status: impl FnOnce() -> Status) {
        if let Some(observer) = &self.observer {
            observer.report(&Report {
                at: Instant::now(),
                job: promise.name().to_owned(),
                key: promise.key(),
                status: status(),
            });
        }
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Worker {
    fn understand(&mut self, slot: usize, frame: Frame) -> Event {
        let generation = self.generation;
        let understood = match frame.kind {
            FrameKind::Hello if !self.welcomed => {
                self.welcomed = true;
                frame
                    .message::<Welcome>("a welcome")
                    .map(|_| Event::Ready { slot, generation })
            }
            FrameKind::Done if self.welcomed => Ok(Event::Answer {
                slot,
                generation,
                run: frame.job,
                result: Ok(frame.payload),
            }),
            FrameKind::Failed if self.welcomed => {
                frame
                    .message::<Failure>("a failure")
                    .map(|failure| Event::Answer {
                        slot,
                        generation,
                        run: frame.job,
                        result: Err(failure),
                    })
            }
            got => {
                let expected = if self.welcomed {
                    "an answer"
                } else {
                    "a welcome"
                };
                Err(WireError::Unexpected {
                    expected,
                    got,
                    job: frame.job,
                })
            }
        };
        understood.unwrap_or_else(|error| Event::Broken {
            slot,
            generation,
            error,
        })
    }
}

fn is_readable(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    os::wait_for(&[(fd, false)], Some(Instant::now())).is_ok_and(|ready| ready[0].readable)
}
