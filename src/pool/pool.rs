//! The public face: [`Builder`], [`Pool`].

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::admission::{Admission, Pass};
use crate::cache::Cache;
use crate::core::{Core, Ears, Means};
use crate::dispatch::Rules;
use crate::error::{Error, JobError};
use crate::job::Job;
use crate::jobserver::Jobserver;
use crate::mailbox::{Mailbox, Message};
use crate::observe::{Observer, Report, Stats, Status};
use crate::readiness::Readiness;
use crate::sandbox::{Confinement, Sandbox};
use crate::scratch::Scratch;
use crate::shim;
use crate::spans::Spans;
use crate::supervisor::Supervisor;
use crate::ticket::{Ticket, ticket};
use crate::width::Width;
use crate::worker_proc::WorkerCommand;

/// Compiles jobs, in worker processes or, with one worker configured, directly.
///
/// Shared by reference (`&Pool` or `Arc<Pool>`) among threads. Dropping it gives up what is not
/// finished, kills every process it started, and resolves every ticket.
pub struct Pool {
    mailbox: Arc<Mailbox>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    admission: Arc<Admission>,
    next_ticket: AtomicU64,
    stats: Arc<Mutex<Stats>>,
    observer: Option<Arc<dyn Observer>>,
    readiness: Arc<Readiness>,
    workers: usize,
    inline: bool,
    command: WorkerCommand,
    sandbox: Sandbox,
}

/// How long a worker may take to end its job and itself before it is killed.
const GRACE: Duration = Duration::from_millis(1_500);
/// Jobs under way, when nobody says how many there may be.
const MOST_UNDER_WAY: usize = 1 << 16;
/// How long a worker may take to say hello.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What a pool is made with.
#[derive(Default)]
#[must_use]
pub struct Builder {
    workers: Option<usize>,
    deadline: Option<Duration>,
    cache: Option<PathBuf>,
    cache_limit: Option<u64>,
    scratch: Option<PathBuf>,
    worker: Option<WorkerCommand>,
    observer: Option<Arc<dyn Observer>>,
    heartbeat: Option<Duration>,
    first_job: Option<Job>,
    idle: Option<Duration>,
    process: bool,
    sandbox: Sandbox,
    start: Start,
    jobserver: Option<Jobserver>,
    queue: Option<usize>,
}

/// How worker processes are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The program is executed for each.
    #[default]
    Spawn,
    /// The program is executed once, and that process is copied for each worker: a start costs less,
    /// and so does the memory of a worker. One process more, which does nothing else. When it cannot
    /// be used, workers are started afresh.
    Fork,
}

impl Pool {
    /// A pool's settings, to be filled in.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The settings of a pool without worker processes: one job at a time, and the compiler is a
    /// child of this process. Everything else is the same. A pool of one worker is this one.
    pub fn inline() -> Builder {
        Builder::default().workers(1)
    }

    /// Hands in a job. Returns at once, unless as many are under way as may be ([`Builder::queue`]): then
    /// it waits until one is done. The ticket holds what comes of it, errors included.
    pub fn submit(&self, job: Job) -> Ticket {
        self.take_in(job, self.admission.enter())
    }

    /// Hands in a job if there is room for it, and gives it back otherwise.
    pub fn try_submit(&self, job: Job) -> Result<Ticket, Box<Job>> {
        match self.admission.try_enter() {
            Some(pass) => Ok(self.take_in(job, pass)),
            None => Err(Box::new(job)),
        }
    }

    fn take_in(&self, job: Job, pass: Pass) -> Ticket {
        let number = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        let key = job.key();
        let (ticket, promise) = ticket(number, &job, key, &self.mailbox, pass);
        self.count(|stats| stats.requested += 1);
        self.report(&ticket, Status::Submitted);
        if let Some(reason) = job.objection() {
            let error = JobError::Refused {
                job: job.name(),
                reason,
            };
            self.count(|stats| stats.failed += 1);
            self.report(
                &ticket,
                Status::Failed {
                    because: error.to_string(),
                },
            );
            promise.keep(Err(error));
        } else {
            self.mailbox.send(Message::Submit {
                ticket: number,
                job: Box::new(job),
                promise,
            });
        }
        ticket
    }

    /// Starts the workers ahead of the first job, each once. In a pool without worker processes there
    /// is nothing to start.
    pub fn warm(&self) {
        if !self.inline {
            self.mailbox.send(Message::Warm);
        }
    }

    /// How many workers can take a job this moment, without being started first.
    pub fn ready(&self) -> usize {
        self.readiness.get()
    }

    /// Waits until every worker can take a job, at most so long, and says whether they can. A pool
    /// without worker processes always can. Nothing needs to wait for it: what is submitted before
    /// is done as soon as one worker is there.
    pub fn wait_ready(&self, time: Duration) -> bool {
        self.inline || self.readiness.wait(self.workers, time)
    }

    /// Stops the workers that have nothing to do, now. The next job, or [`warm`](Self::warm), starts
    /// them again.
    pub fn quiesce(&self) {
        self.mailbox.send(Message::Quiesce);
    }

    /// Waits until nothing that was submitted is under way, at most so long, and says whether it is
    /// so. The pool goes on taking jobs.
    pub fn drain(&self, time: Duration) -> bool {
        let (done, drained) = channel();
        self.mailbox.send(Message::Drain(done));
        drained.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// The counters as they stand.
    pub fn stats(&self) -> Stats {
        self.stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many jobs run at once.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// What of the sandbox compilers are in on this system: found out by a process that takes it on itself.
    pub fn confinement(&self) -> Result<Confinement, Error> {
        confinement(&self.command, self.sandbox)
    }

    /// Takes no more jobs, lets what was submitted finish, and ends all workers. Returns when no
    /// process is left, after `time` at the latest: what is not done by then has been given up a
    /// little earlier (a quarter of the time, at most 1.5 s), so that its worker could end in peace,
    /// and workers that have not ended are killed. Without any time, workers get those 1.5 s.
    pub fn shutdown(&self, time: Duration) {
        let now = Instant::now();
        let at = |time| {
            now.checked_add(time)
                .unwrap_or(now + Duration::from_secs(86_400))
        };
        self.mailbox.send(Message::Close {
            give_up: at(time.saturating_sub((time / 4).min(GRACE))),
            by: at(time),
        });
        let supervisor = self
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor {
            // A panic there has answered every ticket already, by dropping the promises.
            let _ = supervisor.join();
        }
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn report(&self, ticket: &Ticket, status: Status) {
        if let Some(observer) = &self.observer {
            let at = if status == Status::Submitted {
                ticket.submitted()
            } else {
                Instant::now()
            };
            observer.report(&Report {
                at,
                ticket: ticket.number(),
                job: ticket.name().to_owned(),
                key: ticket.key(),
                status,
            });
        }
    }
}

impl Builder {
    /// How many jobs run at once. Without it, as many as the machine has processors, and at most 8:
    /// a model has few distinct kernels. One means no worker processes; see [`Pool::inline`].
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// The wall-clock limit of jobs that have none of their own. 120 s without it.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Keep artefacts in this directory, and take them from there. Without it nothing is kept.
    pub fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Keep the cache within this many bytes: a pool that has added to it removes at its end what
    /// was not used for longest. 1 GiB without it.
    pub fn cache_limit(mut self, bytes: u64) -> Self {
        self.cache_limit = Some(bytes);
        self
    }

    /// Make the private temporary directory in this one instead of `/tmp`.
    pub fn scratch(mut self, directory: impl Into<PathBuf>) -> Self {
        self.scratch = Some(directory.into());
        self
    }

    /// The program to start workers with. Needed also for a pool of one worker, whose compiler is
    /// put under its limits by it.
    pub fn worker(mut self, command: WorkerCommand) -> Self {
        self.worker = Some(command);
        self
    }

    /// The program to start workers with, a worker and nothing else.
    pub fn worker_binary(self, program: impl Into<PathBuf>) -> Self {
        self.worker(WorkerCommand::binary(program))
    }

    /// Confine compilers so; as well as this system can without it. With [`Sandbox::Strict`] no pool is made
    /// where that is not possible.
    pub fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.sandbox = sandbox;
        self
    }

    /// Tell this observer of every step of every job.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Tell the observer of a job that takes longer than this, and again each time as much has
    /// passed. 60 s without it.
    pub fn heartbeat(mut self, every: Duration) -> Self {
        self.heartbeat = Some(every);
        self
    }

    /// Have every worker do this job before any other; a worker that cannot is one that cannot be
    /// started.
    pub fn first_job(mut self, job: Job) -> Self {
        self.first_job = Some(job);
        self
    }

    /// Stop a worker that had nothing to do for so long, one at a time. 60 s without it.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = Some(time);
        self
    }

    /// How worker processes are started: afresh without it.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Start a worker process also when there is one worker: its job cannot harm this process, and
    /// what it needs of memory is given back.
    pub fn in_a_process(mut self) -> Self {
        self.process = true;
        self
    }

    /// Let so many jobs be under way; who brings more waits. 65,536 without it.
    pub fn queue(mut self, most: usize) -> Self {
        self.queue = Some(most);
        self
    }

    /// Run one compiler, and each further one only with a token of this jobserver.
    pub fn jobserver(mut self, jobserver: Jobserver) -> Self {
        self.jobserver = Some(jobserver);
        self
    }

    /// Makes the pool. No worker is started yet.
    pub fn build(self) -> Result<Pool, Error> {
        let start = |reason: String| Error::Start { reason };
        let command = self
            .worker
            .ok_or_else(|| start("no worker program is named".to_owned()))?
            .checked()?;
        if self.sandbox == Sandbox::Strict {
            confinement(&command, self.sandbox)?;
        }
        let cache = self.cache.map(Cache::open).transpose()?;
        let scratch = Scratch::new(&self.scratch.unwrap_or_else(|| "/tmp".into()))?;
        let workers = self.workers.unwrap_or_else(processors);
        let wall = self.deadline.unwrap_or(Duration::from_secs(120));
        let inline = workers == 1 && !self.process;
        let stats = Arc::new(Mutex::new(Stats::default()));
        let readiness = Arc::new(Readiness::default());
        let first = self.first_job.as_ref();
        if let Some(reason) = first.and_then(Job::objection) {
            return Err(start(format!("its workers' first job: {reason}")));
        }
        let rules = Rules {
            slots: workers,
            idle: Some(self.idle.unwrap_or(Duration::from_secs(60))),
            handshake: HANDSHAKE + first.map_or(Duration::ZERO, |job| job.wall(wall)),
            ..RULES
        };
        let means = Means {
            command: command.clone(),
            sandbox: self.sandbox,
            inline,
            start: self.start,
            scratch,
            cache,
            cache_limit: self.cache_limit.unwrap_or(1 << 30),
            wall,
            first_job: self.first_job,
            width: Width::new(workers, self.jobserver),
        };
        let unavailable = |error: io::Error| start(error.to_string());
        let ears = Ears {
            stats: Arc::clone(&stats),
            readiness: Arc::clone(&readiness),
            observer: self.observer.clone(),
            spans: Spans::default(),
            heartbeat: self.heartbeat.unwrap_or(Duration::from_secs(60)),
        };
        let mailbox = Mailbox::new(Core::new(rules, means, ears));
        let mailbox = Arc::new(mailbox.map_err(unavailable)?);
        let supervisor = Supervisor::new(Arc::clone(&mailbox));
        let supervisor = std::thread::Builder::new()
            .name("planish-pool".to_owned())
            .spawn(move || supervisor.run())
            .map_err(unavailable)?;
        Ok(Pool {
            mailbox,
            supervisor: Mutex::new(Some(supervisor)),
            admission: Arc::new(Admission::new(self.queue.unwrap_or(MOST_UNDER_WAY))),
            next_ticket: AtomicU64::new(1),
            stats,
            observer: self.observer,
            readiness,
            workers,
            inline,
            command,
            sandbox: self.sandbox,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("workers", &self.workers)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

fn confinement(command: &WorkerCommand, sandbox: Sandbox) -> Result<Confinement, Error> {
    shim::try_confinement(command, sandbox).map_err(|reason| Error::Sandbox { reason })
}

fn processors() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(8)
}

/// Times that only matter when something is wrong: generous, for a loaded machine.
const RULES: Rules = Rules {
    slots: 1,
    handshake: HANDSHAKE,
    grace: GRACE,
    idle: None,
    overrun: Duration::from_secs(3),
    late: Duration::from_secs(1),
    attempts: 2,
    spawns: 3,
    pause: Duration::from_millis(20),
    look: Duration::from_millis(2),
};
