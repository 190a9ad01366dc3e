//! What the machine hears, and what it says.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::Signal;

use crate::hash::JobKey;
use crate::quarantine::Evidence;
use crate::wire::{Failure, WireError};

/// The times and counts the machine decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Most workers at once.
    pub slots: usize,
    /// How long a worker may take to say hello.
    pub handshake: Duration,
    /// How long a worker may take to answer a cancel, or to stop, before it is killed.
    pub grace: Duration,
    /// How long a worker may have nothing to do before it is stopped.
    pub idle: Option<Duration>,
    /// How long after a job's limit the worker is given up. The worker itself ends the job at the
    /// limit; this is for a worker that cannot.
    pub overrun: Duration,
    /// A deadline that was seen only so long after it had passed was nobody's to keep: who did not look, since the machine stood
    /// still or had no time for us, cannot say that the other one did nothing meanwhile. It is set anew.
    pub late: Duration,
    /// How often a job is given to a worker.
    pub attempts: u32,
    /// How often in a row a worker may fail to start before the waiting jobs fail.
    pub spawns: u32,
    /// The pause after the first failed start; it doubles each time.
    pub pause: Duration,
    /// The pause before another pool's work is first looked for again; it doubles, five times.
    pub look: Duration,
}

/// What a job asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wish {
    /// Its limit on the clock.
    pub wall: Duration,
    /// The greater, the sooner.
    pub urgency: u32,
    /// How many like it may be sent to a worker before it needs them: some, if it takes less time than a
    /// frame travels, and none otherwise.
    pub ahead: usize,
    /// Its worker does not listen while it is at it: it is ended by killing the worker.
    pub deaf: bool,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A new ticket.
    Submit {
        ticket: u64,
        key: JobKey,
        wish: Wish,
    },
    /// The cache was asked for a run.
    LookedUp { run: u64, sought: Sought },
    /// A ticket is not wanted any more.
    Cancel { ticket: u64 },
    /// Start every worker now.
    Warm,
    /// So many runs that take their time may be with workers from now on.
    Width(usize),
    /// Stop the workers that have nothing to do.
    Quiesce,
    /// A worker said hello.
    Ready { slot: usize, generation: u64 },
    /// A worker answered.
    Answer {
        slot: usize,
        generation: u64,
        run: u64,
        result: Result<Bytes, Failure>,
    },
    /// A worker broke the protocol or closed its end.
    Broken {
        slot: usize,
        generation: u64,
        error: WireError,
    },
    /// A worker has ended and was reaped.
    Gone {
        slot: usize,
        generation: u64,
        death: Death,
    },
    /// A worker could not be started.
    NotStarted {
        slot: usize,
        generation: u64,
        reason: String,
    },
    /// Time has passed.
    Tick,
    /// No new jobs; what is not done at `give_up` is given up, what is not gone at `by` is killed.
    Close { give_up: Instant, by: Instant },
}

/// What the cache says of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sought {
    /// It has the result.
    Found,
    /// It has nothing, and the result is ours to make.
    Missing,
    /// Another pool is making it.
    Elsewhere,
    /// Another pool has tried while we waited for it, and failed.
    Failed(Failure),
    /// The job has killed too often.
    GivenUp(Evidence),
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Ask the cache, and answer with [`Event::LookedUp`].
    LookUp { run: u64 },
    /// The ticket shares the run.
    Join { ticket: u64 },
    /// Start a worker.
    Start { slot: usize, generation: u64 },
    /// Give the run's job to the worker.
    Give {
        slot: usize,
        run: u64,
        tickets: Vec<u64>,
    },
    /// Ask the worker to stop the job.
    Interrupt { slot: usize, run: u64 },
    /// The worker has had nothing to do for long: it is stopped next.
    Retire { slot: usize },
    /// Close the worker's input, so that it ends.
    Stop { slot: usize },
    /// Kill the worker.
    Kill { slot: usize },
    /// Stop waiting for a worker that does not even die.
    Abandon { slot: usize },
    /// A worker died on the run, which waits for another one.
    Retry { tickets: Vec<u64>, death: Death },
    /// The run's last ticket was cancelled: its job is not needed any more.
    Forget { run: u64 },
    /// Answer the tickets.
    Resolve {
        run: u64,
        tickets: Vec<u64>,
        end: End,
    },
    /// Everything is over.
    Closed,
}

/// How a run, or one ticket of it, ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// The cache has it. The bytes are where the lookup left them.
    Cached,
    /// A worker made it.
    Made { bytes: Bytes, after: Duration },
    /// A worker says why not.
    Failed(Failure),
    /// Its worker died on it, as often as is allowed.
    Died(Death),
    /// Its worker did not end it at the limit.
    Overran { limit: Duration },
    /// It is not run any more.
    GivenUp(Evidence),
    /// No worker can be started.
    NoWorker(Trouble),
    /// Nobody wants it any more.
    Cancelled,
    /// The pool is closed.
    Closed,
}

/// Why a worker cannot be started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Trouble {
    /// The system refuses, or the program ends before it says hello.
    Start(String),
    /// The program says something that is not this protocol.
    Protocol(WireError),
}

/// How a worker ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Death {
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Its exit code.
    pub code: Option<i32>,
    /// The end of what it wrote.
    pub stderr: String,
    /// The violation it was stopped for.
    pub cause: Option<WireError>,
}

impl Death {
    /// Whether it had used the processor time that it took on itself as a limit.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.signal == Some(Signal::XCPU.as_raw())
    }
}
