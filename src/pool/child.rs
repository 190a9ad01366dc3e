//! Runs one program under limits, in a process group of its own, and never waits for it blindly.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::channel::Interrupts;
use crate::os;
use crate::shim;
use crate::triton::resident::Resident;
use crate::wire::Bounds;
use crate::worker_proc::WorkerCommand;

/// Bytes of output that are kept, from its end.
const TAIL: usize = 16 << 10;
/// Bytes read after the group is dead. A process that escaped from the group could write for ever.
const DRAIN: usize = 1 << 20;

/// Starts programs for jobs.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// The program that also is the shims.
    pub command: WorkerCommand,
    /// Whether all children of this process belong to jobs, so that what a job leaves behind can
    /// be found among them. True in a worker process, false on a worker thread.
    pub owns_all_children: bool,
    /// What stays between jobs, if there is one.
    pub resident: RefCell<Option<Resident>>,
}

/// A program to run.
pub(crate) struct Program<'a> {
    pub path: &'a Path,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
    pub directory: &'a Path,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself or by a signal.
    Exited {
        signal: Option<i32>,
        code: Option<i32>,
        output: String,
    },
    /// At the wall-clock limit, killed.
    TimedOut { output: String },
    /// Killed because the pool cancelled the job or is gone.
    Interrupted,
    /// It was not started at all.
    CannotExecute { reason: String },
}

impl Launcher {
    /// Runs the program to its end, to the deadline, or to the first interrupt. When this returns,
    /// no process of the program's group is alive.
    pub(crate) fn run(
        &self,
        program: &Program<'_>,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> io::Result<Ended> {
        let (mut ended, mut tries) = (Err(io::Error::from(Errno::PERM)), 0..3);
        // A group that cannot be joined is one whose guard somebody has killed. Another one is as good.
        while is_not_permitted(&ended) && tries.next().is_some() {
            ended = self.run_guarded(program, bounds, deadline, interrupts);
        }
        let resident = self.resident.borrow();
        let resident = resident.as_ref().map(Resident::processes);
        self.end_what_is_left(&resident.unwrap_or_default())?;
        ended
    }

    fn run_guarded(
        &self,
        program: &Program<'_>,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> io::Result<Ended> {
        let (guard, held) = self.group()?;
        let ended = self.run_in_group(&guard, program, bounds, deadline, interrupts);
        // Dropping the guard kills the group; the lifeline must not be the thing that does it.
        drop(guard);
        drop(held);
        ended
    }

    /// Ends what a job has left behind. `resident` stays.
    pub(crate) fn end_what_is_left(&self, resident: &[u32]) -> io::Result<()> {
        let patience = Duration::from_secs(2);
        if self.owns_all_children && !os::end_all_children(resident, patience) {
            return Err(io::Error::other(
                "the job left processes behind that do not die",
            ));
        }
        Ok(())
    }

    /// A new process group with its guard. The guard kills the group when the other value is gone,
    /// and with it this process.
    pub(crate) fn group(&self) -> io::Result<(Group, PipeWriter)> {
        let (lifeline, held) = io::pipe()?;
        let mut command = self.command.verb_command(shim::WATCH);
        command
            .stdin(lifeline)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok((Group(command.spawn()?), held))
    }

    fn run_in_group(
        &self,
        guard: &Group,
        program: &Program<'_>,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> io::Result<Ended> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.command.verb_command(shim::EXEC_LIMITED);
        command
            .args(shim::exec_limited_arguments(bounds))
            .arg(program.path)
            .args(&program.arguments)
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .current_dir(program.directory)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(guard.number());
        let mut child = Member(command.spawn()?);
        // Our copies of the pipe's write end live in `command`.
        drop(command);
        let mut output = Output::new(reader)?;
        let ended = wait(&mut child.0, &mut output, deadline, interrupts)?;
        guard.kill();
        Ok(match ended {
            Wait::Exited(status) => exited(status, output.finish()),
            Wait::TimedOut => Ended::TimedOut {
                output: output.finish(),
            },
            Wait::Interrupted => Ended::Interrupted,
        })
    }
}

/// The guard process, leader of the job's group.
#[derive(Debug)]
pub(crate) struct Group(Child);

impl Group {
    /// The number of the group, which is the guard's.
    pub(crate) fn number(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Kills every process of the group.
    pub(crate) fn kill(&self) {
        os::kill_group(&self.0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.0.wait();
    }
}

/// A child that is dead and reaped when this value is gone.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_not_permitted(ended: &io::Result<Ended>) -> bool {
    ended
        .as_ref()
        .is_err_and(|error| Errno::from_io_error(error) == Some(Errno::PERM))
}

enum Wait {
    Exited(ExitStatus),
    TimedOut,
    Interrupted,
}

fn wait(
    child: &mut Child,
    output: &mut Output,
    deadline: Instant,
    interrupts: &mut Interrupts<'_>,
) -> io::Result<Wait> {
    let process = os::process_descriptor(child)?;
    loop {
        if interrupts.pending() {
            return Ok(Wait::Interrupted);
        }
        let socket = interrupts.as_fd();
        let mut fds = vec![(process.as_fd(), false), (socket, false)];
        fds.extend(output.pipe.as_ref().map(|pipe| (pipe.as_fd(), false)));
        let ready = os::wait_for(&fds, Some(deadline))?;
        let said_something = ready.get(2).is_some_and(|pipe| pipe.readable);
        let ended = ready[0].readable;
        if ready[1].readable {
            interrupts.read();
        }
        if said_something {
            output.read(TAIL);
        }
        if ended {
            return child.wait().map(Wait::Exited);
        }
        if Instant::now() >= deadline {
            return Ok(Wait::TimedOut);
        }
    }
}

fn exited(status: ExitStatus, output: String) -> Ended {
    if status.code() == Some(i32::from(shim::CANNOT_EXECUTE))
        && let Some(reason) = output.trim_end().strip_prefix(shim::COMPLAINT)
    {
        return Ended::CannotExecute {
            reason: reason.to_owned(),
        };
    }
    Ended::Exited {
        signal: status.signal(),
        code: status.code(),
        output,
    }
}

/// The end of what a program writes.
struct Output {
    pipe: Option<PipeReader>,
    kept: VecDeque<u8>,
    dropped: usize,
}

impl Output {
    fn new(pipe: PipeReader) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self {
            pipe: Some(pipe),
            kept: VecDeque::new(),
            dropped: 0,
        })
    }

    /// Reads what is there, at most about `most` bytes.
    fn read(&mut self, most: usize) {
        let mut buffer = [0; 4096];
        let mut total = 0;
        while total < most
            && let Some(pipe) = &mut self.pipe
        {
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    total += count;
                    self.kept.extend(&buffer[..count]);
                    let above = self.kept.len().saturating_sub(TAIL);
                    self.kept.drain(..above);
                    self.dropped += above;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn finish(mut self) -> String {
        self.read(DRAIN);
        let bytes: Vec<u8> = self.kept.into();
        let text = String::from_utf8_lossy(&bytes);
        match self.dropped {
            0 => text.into_owned(),
            dropped => format!("[{dropped} bytes before this]\n{text}"),
        }
    }
}
