//! One worker as the supervisor sees it: a socket, and a process (or a thread) at its other end.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::Serialize;

use crate::arena::{self, Arena};
use crate::dispatch::Death;
use crate::error::Error;
use crate::fork_server::ForkServer;
use crate::os::{self, Exit, Process};
use crate::outgoing::Outgoing;
use crate::sandbox::Sandbox;
use crate::view::View;
use crate::wire::{Decoder, Frame, FrameKind, Hello, OrderRef, Region, WireError};
use crate::worker::{self, Handlers};

/// Bytes of a dead worker's output that are kept.
const TAIL: u64 = 16 << 10;
/// For who manages the memory of a worker and of the processes around a compiler; others do not know these variables.
///
/// glibc: keep up to 4 MiB that were freed. By itself it gives every large payload's pages back to the kernel, which has to clear them for
/// the next one. mimalloc: begin with its least, 32 MiB of addresses, and take more as they are needed. It keeps books on the gigabyte that it
/// takes otherwise, and to begin them touches 40 pages more, a tenth of what the start of a worker takes.
const MEMORY: [(&str, &str); 2] = [
    (
        "GLIBC_TUNABLES",
        "glibc.malloc.mmap_threshold=67108864:glibc.malloc.trim_threshold=4194304",
    ),
    ("MIMALLOC_ARENA_RESERVE", "32M"),
];
/// Bytes that a socket holds until they are read, if the system allows it: a large payload goes at once, and nobody is woken for its
/// second half.
const IN_THE_SOCKET: usize = 4 << 20;

/// How to start a worker: a program, and the arguments that make it one.
///
/// The same program is started again, with further arguments, as the shim around each compiler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// What a worker is told of where it works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// The directory that it may make for itself.
    pub scratch: &'a Path,
    /// The pool's cache.
    pub cache: Option<&'a Path>,
    /// Whether anybody wants to hear of phases.
    pub phases: bool,
    /// How compilers are confined.
    pub sandbox: Sandbox,
}

/// A started worker.
#[derive(Debug)]
pub(crate) struct WorkerProc {
    socket: UnixStream,
    decoder: Decoder,
    outgoing: Outgoing,
    /// Where large payloads are put. Without it they go by the socket.
    arena: Option<Arena>,
    /// The supervisor is told when there is room for the rest.
    pub(crate) waits_for_room: bool,
    /// The worker closed its end, or broke the protocol: nothing more is read.
    pub(crate) silent: bool,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Process { process: Process, stderr: File },
    Thread(Option<JoinHandle<()>>),
}

impl WorkerCommand {
    /// A program that is a worker and nothing else, as `planish-worker`.
    pub fn binary(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    /// A program that is a worker when its first argument is `verb`, as `planish --planish-worker`.
    pub fn verb(program: impl Into<PathBuf>, verb: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: vec![verb.into()],
        }
    }

    /// The running program itself. Its `main` must call [`crate::enter_if_asked`] before anything
    /// else; a program that does not would run its normal course in every worker.
    pub fn this_program() -> io::Result<Self> {
        Ok(Self::verb(std::env::current_exe()?, worker::ASKED))
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The arguments before any verb.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    pub(crate) fn new(program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, arguments }
    }

    /// The program with its arguments. Its environment is what it is told of memory.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(MEMORY);
        command
    }

    pub(crate) fn verb_command(&self, verb: &str) -> Command {
        let mut command = self.command();
        command.arg(verb);
        command
    }

    /// With a verb that becomes another program, which has no environment but what is given to it.
    pub(crate) fn shim_command(&self, verb: &str) -> Command {
        let mut command = self.verb_command(verb);
        command.env_clear();
        command
    }

    /// The same command with an absolute path to a program that exists.
    pub(crate) fn checked(self) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Worker {
            path: self.program.clone(),
            reason,
        };
        let program =
            std::path::absolute(&self.program).map_err(|error| wrong(error.to_string()))?;
        let metadata = std::fs::metadata(&program).map_err(|error| wrong(error.to_string()))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(wrong("it is not an executable file".to_owned()));
        }
        Ok(Self {
            program,
            arguments: self.arguments,
        })
    }
}

impl WorkerProc {
    /// Starts a worker process with one end of a new socket as its standard input. It inherits
    /// nothing else of ours: every descriptor that Rust opens is closed by exec.
    pub(crate) fn process(
        command: &WorkerCommand,
        surroundings: Surroundings<'_>,
    ) -> io::Result<Self> {
        Self::started(command, surroundings, |socket, stderr, arena| {
            let child = command
                .command()
                .current_dir("/")
                .stdin(socket)
                .stdout(arena.map_or_else(Stdio::null, Stdio::from))
                .stderr(stderr.try_clone()?)
                // Out of the terminal's group: an interrupt is the parent's to decide on.
                .process_group(0)
                .spawn()?;
            Process::of(&child)
        })
    }

    /// Has a worker process copied from the fork server; everything else is the same.
    pub(crate) fn copy(
        server: &mut ForkServer,
        command: &WorkerCommand,
        surroundings: Surroundings<'_>,
    ) -> io::Result<Self> {
        Self::started(command, surroundings, |socket, stderr, arena| {
            server.fork(&socket, stderr, arena.as_ref())
        })
    }

    fn started(
        command: &WorkerCommand,
        surroundings: Surroundings<'_>,
        start: impl FnOnce(OwnedFd, &File, Option<OwnedFd>) -> io::Result<Process>,
    ) -> io::Result<Self> {
        let (socket, other) = connected()?;
        // A file instead of a pipe: nobody has to read it while the worker lives, and a worker that
        // writes much is not stopped by it. In memory: a worker can be started when the disk is full, and without waiting for it.
        let stderr = os::file_in_memory("planish-stderr")?;
        let arena = Arena::new().ok();
        let shared = arena.as_ref().map(Arena::share).transpose()?;
        let process = start(other.into(), &stderr, shared)?;
        let mut worker = Self::around(socket, arena, Body::Process { process, stderr });
        worker.greet(command, surroundings)?;
        Ok(worker)
    }

    /// Starts the same worker on a thread of this process.
    pub(crate) fn thread(
        command: &WorkerCommand,
        surroundings: Surroundings<'_>,
        handlers: Handlers,
    ) -> io::Result<Self> {
        let (socket, other) = connected()?;
        let arena = Arena::new().ok();
        let shared = arena.as_ref().map(Arena::share).transpose()?;
        let view = shared.map(View::new);
        let thread = std::thread::Builder::new()
            .name("planish-worker".to_owned())
            .spawn(move || {
                // The other side sees what happened by what it receives.
                let _ = worker::serve_thread(other, view, &handlers);
            })?;
        let mut worker = Self::around(socket, arena, Body::Thread(Some(thread)));
        worker.greet(command, surroundings)?;
        Ok(worker)
    }

    /// Puts a message into the outgoing bytes. [`WorkerProc::flush`] sends them.
    pub(crate) fn send<T: Serialize>(
        &mut self,
        kind: FrameKind,
        job: u64,
        message: &T,
    ) -> Result<(), WireError> {
        Frame::encode_message(self.outgoing.tail(), kind, job, message)
    }

    /// Puts an order into them, and its payload there too or into the arena.
    pub(crate) fn order(&mut self, job: u64, mut order: OrderRef<'_>) -> Result<(), WireError> {
        let payload = order.kind.payload();
        order.region = (self.arena.as_mut()).and_then(|arena| arena.lend(job, payload));
        Frame::encode_order(self.outgoing.tail(), job, order)?;
        self.outgoing.attach(order.behind());
        Ok(())
    }

    /// The worker has returned what was lent to it for a job.
    pub(crate) fn take_back(&mut self, job: u64) -> Result<(), WireError> {
        match &mut self.arena {
            Some(arena) => arena.take_back(job),
            None => Err(arena::never_lent(job)),
        }
    }

    /// What a job made, which lies in the arena.
    pub(crate) fn placed(&self, job: u64, region: Region) -> Result<Bytes, WireError> {
        let result = self
            .arena
            .as_ref()
            .and_then(|arena| arena.result(job, region));
        result.ok_or_else(|| WireError::Region {
            job,
            region,
            reason: "that was not lent".to_owned(),
        })
    }

    /// When the arena has been without payloads for so long that it needs no pages.
    pub(crate) fn pages_are_due(&self) -> Option<Instant> {
        self.arena.as_ref().and_then(Arena::due)
    }

    /// Gives its pages back then.
    pub(crate) fn give_back_pages(&mut self, now: Instant) {
        if let Some(arena) = &mut self.arena
            && arena.due().is_some_and(|due| due <= now)
        {
            arena.give_back_pages();
        }
    }

    /// Puts a frame without a payload into the outgoing bytes.
    pub(crate) fn send_bare(&mut self, kind: FrameKind, job: u64) {
        // What is empty is not too long.
        let _ = Frame::new(kind, job, Vec::new()).encode(self.outgoing.tail());
    }

    /// Sends what goes without waiting. A closed socket is noticed by reading.
    pub(crate) fn flush(&mut self) {
        match self.outgoing.send(&self.socket, SendFlags::DONTWAIT) {
            Ok(()) | Err(Errno::AGAIN) => {}
            Err(_) => self.outgoing.clear(),
        }
    }

    /// Whether there is something left to send.
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// The frames that have arrived, and the error that ends them, if one does. Of a worker that has
    /// ended, everything that it sent, and what its end means.
    pub(crate) fn read(&mut self, has_ended: bool) -> (Vec<Frame>, Option<WireError>) {
        let mut frames = Vec::new();
        while !self.silent {
            let room = self.decoder.room();
            let offered = room.capacity() - room.len();
            let received =
                rustix::net::recv(&self.socket, spare_capacity(room), RecvFlags::DONTWAIT);
            let all = match received {
                Ok((count, _)) if count > 0 => count < offered,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Ok(_) | Err(_) => {
                    self.silent = true;
                    break;
                }
            };
            loop {
                match self.decoder.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        self.silent = true;
                        return (frames, Some(error));
                    }
                }
            }
            // A short read has emptied the socket; what comes now is told of again.
            if all && !has_ended {
                break;
            }
        }
        let end = self.silent.then(|| self.decoder.end());
        (frames, end)
    }

    /// The socket.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Readable when the process has ended; a thread ends with its socket.
    pub(crate) fn ended(&self) -> Option<BorrowedFd<'_>> {
        match &self.body {
            Body::Process { process, .. } => Some(process.as_fd()),
            Body::Thread(_) => None,
        }
    }

    /// Asks the worker to stop: it sees the end of its input, ends its job and exits.
    pub(crate) fn stop(&mut self) {
        self.outgoing.clear();
        // Only our direction: the worker's own end tells us when a thread is gone.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Kills the worker. What it had started is killed by the guard of its group.
    pub(crate) fn kill(&mut self) {
        if let Body::Process { process, .. } = &self.body {
            process.kill();
        }
    }

    /// Reaps a worker that has ended.
    pub(crate) fn death(&mut self) -> Death {
        match &mut self.body {
            Body::Process { process, stderr } => {
                let Exit { signal, code } = process.wait();
                Death {
                    signal,
                    code,
                    stderr: end_of(stderr),
                    cause: None,
                }
            }
            Body::Thread(thread) => {
                let panicked = thread.take().is_some_and(|thread| thread.join().is_err());
                let stderr = if panicked {
                    "the worker thread panicked"
                } else {
                    ""
                };
                Death {
                    signal: None,
                    code: Some(i32::from(panicked)),
                    stderr: stderr.to_owned(),
                    cause: None,
                }
            }
        }
    }

    fn around(socket: UnixStream, arena: Option<Arena>, body: Body) -> Self {
        Self {
            socket,
            decoder: Decoder::default(),
            outgoing: Outgoing::default(),
            arena,
            waits_for_room: false,
            silent: false,
            body,
        }
    }

    fn greet(&mut self, command: &WorkerCommand, surroundings: Surroundings<'_>) -> io::Result<()> {
        let hello = Hello {
            program: command.program.clone().into(),
            arguments: command.arguments.clone(),
            scratch: surroundings.scratch.into(),
            cache: surroundings.cache.map(OsString::from),
            phases: surroundings.phases,
            sandbox: surroundings.sandbox,
        };
        self.send(FrameKind::Hello, 0, &hello)
            .map_err(io::Error::other)?;
        self.flush();
        Ok(())
    }
}

impl Drop for WorkerProc {
    /// A worker that is dropped without [`WorkerProc::death`] is killed and reaped.
    fn drop(&mut self) {
        if let Body::Process { process, .. } = &self.body {
            process.kill();
            // Not for ever: this is also the end of waiting for a process the kernel cannot end.
            let soon = Instant::now() + Duration::from_secs(1);
            let _ = os::wait_for(&[(process.as_fd(), false)], Some(soon));
            process.reap();
        }
    }
}

fn connected() -> io::Result<(UnixStream, UnixStream)> {
    let (here, there) = UnixStream::pair()?;
    for end in [&here, &there] {
        rustix::net::sockopt::set_socket_send_buffer_size(end, IN_THE_SOCKET)?;
    }
    Ok((here, there))
}

pub(crate) fn end_of(file: &File) -> String {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(TAIL);
    let mut bytes = vec![0; (length - start) as usize];
    match file.read_exact_at(&mut bytes, start) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}
