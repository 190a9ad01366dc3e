//! The worker's side: its loop, its handlers, and the entry for programs that can be workers.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use crate::channel::{Channel, Interrupts};
use crate::child::{Ended, Launcher, Program, Trial};
use crate::fork_server::{self, FORK_SERVER};
use crate::jobs::{CompileCJobs, CompileTritonJobs, EchoJobs, TaskJobs};
use crate::os;
use crate::proof::{self, Prover};
use crate::remains::Usage;
use crate::sandbox::Sandbox;
use crate::scratch;
use crate::shim;
use crate::view::View;
use crate::wire::{
    Bounds, Failure, Frame, FrameKind, Hello, JobKind, Level, Note, Order, Welcome, WireError,
};
use crate::worker_proc::WorkerCommand;

/// The argument that makes a program which calls [`enter_if_asked`] a worker.
pub(crate) const ASKED: &str = "--planish-worker";
/// How long a worker may go on after its pool is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Does the jobs of one kind.
pub trait Handler: Send {
    /// Whether this handler does jobs of this kind.
    fn takes(&self, kind: &JobKind) -> bool;

    /// Does one job. A panic here ends the worker, and the pool reports it as a crash.
    fn run(&self, kind: &JobKind, context: &mut JobContext<'_>) -> Result<Bytes, Failure>;
}

/// What a worker can do: a list of handlers, asked in order.
#[derive(Default)]
pub struct Handlers {
    handlers: Vec<Box<dyn Handler>>,
    prover: Option<Prover>,
}

/// What a handler may use while it does a job.
pub struct JobContext<'a> {
    order: &'a Order,
    deadline: Instant,
    place: &'a Place,
    pub(crate) interrupts: Interrupts<'a>,
}

/// Where a worker works, as its pool told it.
struct Place {
    scratch: PathBuf,
    /// Whether that is there already.
    made: Cell<bool>,
    cache: Option<PathBuf>,
    /// Whether the pool wants to hear of phases.
    phases: bool,
    launcher: Launcher,
}

impl Handlers {
    /// No handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The handlers of this crate: C, Triton, and echo.
    pub fn standard() -> Self {
        Self::new()
            .with(CompileCJobs)
            .with(CompileTritonJobs)
            .with(EchoJobs)
    }

    /// With what does the tasks of this name ([`crate::Job::task`]). Its error is the reason, in words
    /// that read after "failed to do the job:".
    #[must_use]
    pub fn with_task<F>(self, name: &'static str, run: F) -> Self
    where
        F: Fn(&[u8], &mut JobContext<'_>) -> Result<Vec<u8>, String> + Send + 'static,
    {
        self.with(TaskJobs { name, run })
    }

    /// With what tries the results of jobs that claim something ([`crate::Job::claiming`]).
    #[must_use]
    pub fn with_prover(mut self, prover: Prover) -> Self {
        self.prover = Some(prover);
        self
    }

    /// With one more handler.
    #[must_use]
    pub fn with(mut self, handler: impl Handler + 'static) -> Self {
        self.handlers.push(Box::new(handler));
        self
    }
}

impl<'a> JobContext<'a> {
    /// The job's limits.
    pub fn bounds(&self) -> &Bounds {
        &self.order.bounds
    }

    /// What starts programs for this worker, and the worker's directory, for as long as the job runs.
    pub(crate) fn workshop(&self) -> (&'a Launcher, &'a Path) {
        (&self.place.launcher, &self.place.scratch)
    }

    /// The job's whole environment. What the worker's own process has is not the job's.
    pub fn environment(&self) -> &[(OsString, OsString)] {
        &self.order.environment
    }

    /// When the job must have ended.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The worker's private directory, which is made when it is first asked for.
    pub fn scratch(&self) -> io::Result<&Path> {
        let Place { scratch, made, .. } = self.place;
        if !made.get() {
            fs::DirBuilder::new().mode(0o700).create(scratch)?;
            made.set(true);
        }
        Ok(scratch)
    }

    /// A new directory in it for this job alone.
    pub(crate) fn directory(&self) -> Result<TempDir, Failure> {
        let inside = |scratch| tempfile::Builder::new().prefix("job-").tempdir_in(scratch);
        let made = self.scratch().and_then(inside);
        made.map_err(|error| {
            let scratch = self.place.scratch.display();
            let reason = format!("make a directory in {scratch}: {error}");
            Failure::Scratch { reason }
        })
    }

    /// The directory of the pool's cache, if it has one.
    pub fn cache(&self) -> Option<&Path> {
        self.place.cache.as_deref()
    }

    /// How compilers are confined.
    pub fn sandbox(&self) -> Sandbox {
        self.place.launcher.sandbox
    }

    /// How another process of the worker's program is started.
    pub fn command(&self) -> &WorkerCommand {
        &self.place.launcher.command
    }

    /// Tells that the job has come to its next phase. It costs nothing when nobody wants to hear it.
    pub fn phase(&mut self, name: &str) {
        if self.place.phases {
            let name = name.to_owned();
            self.interrupts.tell(&Note::Phase { name });
        }
    }

    /// Says something in the log of the process that asked for the job.
    pub fn log(&mut self, level: Level, target: &str, text: impl fmt::Display) {
        let (target, text) = (target.to_owned(), text.to_string());
        self.interrupts.tell(&Note::Log {
            level,
            target,
            text,
        });
    }

    /// Adds to a counter of the process that asked for the job.
    pub fn count(&mut self, name: &str, amount: u64) {
        let name = name.to_owned();
        self.interrupts.tell(&Note::Count { name, amount });
    }

    /// Waits until `until`, or less if the job is cancelled. True if it is.
    pub fn cancelled_before(&mut self, until: Instant) -> bool {
        loop {
            if self.interrupts.pending() {
                return true;
            }
            let ready = os::wait_for(&[(self.interrupts.as_fd(), false)], Some(until));
            match ready {
                Ok(ready) if ready[0].readable => self.interrupts.read(),
                Ok(_) if Instant::now() < until => {}
                Ok(_) | Err(_) => return false,
            }
        }
    }

    /// Tells what the job's program used.
    pub(crate) fn used(&mut self, usage: Usage) {
        self.interrupts.tell(&Note::Used { usage });
    }

    /// Has the file at `path` tried by a process of its own, and tells on what it was proven.
    pub(crate) fn prove(&mut self, path: &Path, claim: &str) -> Result<Trial, Failure> {
        let launcher = &self.place.launcher;
        let (bounds, deadline) = (&self.order.bounds, self.deadline);
        let trial = launcher
            .prove(path, claim, bounds, deadline, &mut self.interrupts)
            .map_err(|error| Failure::Spawn {
                reason: format!("try {}: {error}", path.display()),
            })?;
        if let Trial::Proven { on } = &trial {
            let on = on.clone();
            self.interrupts.tell(&Note::Proven { on });
        }
        Ok(trial)
    }

    /// Runs a program under the job's limits.
    pub(crate) fn execute(&mut self, program: &Program<'_>) -> Result<Ended, Failure> {
        let launcher = &self.place.launcher;
        launcher
            .run(
                program,
                &self.order.bounds,
                self.deadline,
                &mut self.interrupts,
            )
            .map_err(|error| Failure::Spawn {
                reason: format!("run {}: {error}", program.path.display()),
            })
    }
}

/// The `main` of a worker. `arguments` are those after the program's name and after the verb that
/// made it a worker.
///
/// Without arguments it serves the pool at the other end of standard input. The other forms are the
/// shims around a compiler and the fork server; see `docs/pool.md`.
pub fn worker_main(handlers: &Handlers, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match arguments.split_first() {
        None => serve_standard_input(handlers),
        Some((verb, rest)) if verb == shim::EXEC_LIMITED => shim::exec_limited(rest),
        Some((verb, [level])) if verb == shim::CONFINE => shim::confine(level),
        Some((verb, rest)) if verb == proof::PROVE => proof::prove(handlers.prover, rest),
        Some((verb, [])) if verb == shim::WATCH => shim::watch(),
        Some((verb, [])) if verb == FORK_SERVER => fork_server::serve(handlers),
        Some((verb, _)) => complain(&format!("there is no worker verb `{}`", verb.display())),
    }
}

/// Makes the running program a worker if it was started as one, for programs that use
/// [`WorkerCommand::this_program`]. Call it first in `main`, and return the exit code if there is
/// one.
pub fn enter_if_asked(handlers: &Handlers) -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == ASKED).then(|| worker_main(handlers, arguments))
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handlers({})", self.handlers.len())
    }
}

impl fmt::Debug for JobContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext")
            .field("bounds", &self.order.bounds)
            .finish_non_exhaustive()
    }
}

/// Serves a pool from a thread of its own process, until the stream ends.
pub(crate) fn serve_thread(
    stream: UnixStream,
    view: Option<View>,
    handlers: &Handlers,
) -> Result<(), WireError> {
    let mut channel = Channel::new(stream, view);
    match greet(&mut channel)? {
        Some(hello) => serve(&mut channel, hello, handlers, false),
        None => Ok(()),
    }
}

/// Answers the pool's hello; `None` if the stream ends before one comes.
fn greet(channel: &mut Channel) -> Result<Option<Hello>, WireError> {
    let Some(first) = channel.receive()? else {
        return Ok(None);
    };
    if first.kind != FrameKind::Hello {
        return Err(WireError::Unexpected {
            expected: "a hello",
            got: first.kind,
            job: first.job,
        });
    }
    let hello = first.message("a hello")?;
    let welcome = Welcome {
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        process: std::process::id(),
    };
    channel.send(&Frame::with(FrameKind::Hello, 0, &welcome)?)?;
    channel.flush()?;
    Ok(Some(hello))
}

/// Answers orders until the stream ends. `process` says whether this is a worker process, which
/// owns all its children, or a thread in somebody else's process.
fn serve(
    channel: &mut Channel,
    hello: Hello,
    handlers: &Handlers,
    process: bool,
) -> Result<(), WireError> {
    let place = Place {
        scratch: hello.scratch.into(),
        made: Cell::new(false),
        cache: hello.cache.map(PathBuf::from),
        phases: hello.phases,
        launcher: Launcher {
            command: WorkerCommand::new(hello.program.into(), hello.arguments),
            owns_all_children: process,
            resident: RefCell::default(),
            sandbox: hello.sandbox,
        },
    };
    let end = answer_orders(channel, handlers, &place);
    drop(place.launcher.resident.take());
    // A living pool closes only its direction, and removes its directories itself.
    if process && os::hung_up(channel.as_fd()) {
        scratch::remove_place(&place.scratch);
    }
    end
}

fn answer_orders(
    channel: &mut Channel,
    handlers: &Handlers,
    place: &Place,
) -> Result<(), WireError> {
    while let Some(frame) = channel.receive()? {
        let order = match frame.kind {
            FrameKind::Job => channel.order_in(&frame)?,
            // It crossed the answer on its way, or its order was never begun.
            FrameKind::Cancel => continue,
            got => {
                return Err(WireError::Unexpected {
                    expected: "a job",
                    got,
                    job: frame.job,
                });
            }
        };
        let answer = if channel.was_cancelled(frame.job) {
            Err(Failure::Cancelled)
        } else {
            obey(&order, frame.job, channel, handlers, place)
        };
        // Its payload is returned with the answer.
        drop(order);
        match answer {
            Ok(bytes) => channel.answer(frame.job, bytes)?,
            Err(failure) => {
                channel.send(&Frame::with(FrameKind::Failed, frame.job, &failure)?)?;
            }
        }
    }
    Ok(())
}

fn obey(
    order: &Order,
    job: u64,
    channel: &mut Channel,
    handlers: &Handlers,
    place: &Place,
) -> Result<Bytes, Failure> {
    let handler = handlers
        .handlers
        .iter()
        .find(|handler| handler.takes(&order.kind));
    let handler = handler.ok_or_else(|| Failure::Unsupported {
        kind: order.kind.name().to_owned(),
    })?;
    let now = Instant::now();
    let mut context = JobContext {
        order,
        // A limit beyond the clock's range is as good as a day.
        deadline: now
            .checked_add(Duration::from_millis(order.bounds.wall_ms))
            .unwrap_or(now + Duration::from_secs(86_400)),
        place,
        interrupts: channel.interrupts(job),
    };
    handler.run(&order.kind, &mut context)
}

fn serve_standard_input(handlers: &Handlers) -> ExitCode {
    match take_standard_input() {
        Ok(stream) => serve_process(handlers, stream, take_standard_output()),
        Err(error) => complain(&error.to_string()),
    }
}

/// The `main` of a worker that is a copy of the fork server.
pub(crate) fn serve_copy(
    handlers: &Handlers,
    stream: UnixStream,
    stderr: &OwnedFd,
    arena: Option<OwnedFd>,
) -> ExitCode {
    // As it is with a worker that was started afresh.
    let ready = os::lead_a_group().and_then(|()| os::set_stderr(stderr.as_fd()));
    match ready {
        Ok(()) => serve_process(handlers, stream, arena.map(View::new)),
        Err(error) => complain(&format!("become a worker: {error}")),
    }
}

fn serve_process(handlers: &Handlers, stream: UnixStream, view: Option<View>) -> ExitCode {
    tell_where_panics_come_from();
    match serve_as_a_process(handlers, &mut Channel::new(stream, view)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn serve_as_a_process(handlers: &Handlers, channel: &mut Channel) -> Result<(), String> {
    let watch = |error| format!("watch the pool: {error}");
    let wire = |error: WireError| error.to_string();
    os::adopt_orphans().map_err(watch)?;
    let Some(hello) = greet(channel).map_err(wire)? else {
        return Ok(());
    };
    // Before the first order, and after the hello that the pool waits for: the thread is made while it takes note of that.
    watch_the_lifeline(channel.as_fd()).map_err(watch)?;
    serve(channel, hello, handlers, true).map_err(wire)
}

/// The socket that a pool gave as standard input.
pub(crate) fn take_standard_input() -> io::Result<UnixStream> {
    if !os::stdin_is_a_socket() {
        let reason = "this is a worker: a pool starts it, with a socket as standard input";
        return Err(io::Error::other(reason));
    }
    // Moved away from descriptor 0, where every child would inherit it and keep it open.
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    os::close_stdin()?;
    Ok(stream)
}

/// The arena that a pool gave as standard output. A file that is none is left alone: who gave it lends nothing there.
fn take_standard_output() -> Option<View> {
    let stdout = io::stdout();
    if !os::keeps_its_length(&stdout) {
        return None;
    }
    let file = stdout.as_fd().try_clone_to_owned().ok()?;
    // What a task prints belongs elsewhere, and children need not hold the arena open.
    os::close_stdout().ok()?;
    Some(View::new(file))
}

fn watch_the_lifeline(stream: BorrowedFd<'_>) -> io::Result<()> {
    let lifeline = stream.try_clone_to_owned()?;
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            os::wait_for_hang_up(lifeline.as_fd());
            // The loop has seen it too and is cleaning up. If it cannot, because a job does not let go,
            // this ends the worker, and the guard of the job's group ends the job.
            std::thread::sleep(LAST_WORDS);
            os::kill_self();
        })?;
    Ok(())
}

/// What a worker writes last is part of the error that its job ends with. There is no environment in
/// which a backtrace could be asked for.
fn tell_where_panics_come_from() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let backtrace = std::backtrace::Backtrace::force_capture();
        let _ = writeln!(io::stderr(), "{backtrace}");
    }));
}

fn complain(complaint: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "planish-worker: {complaint}");
    ExitCode::from(2)
}
