//! Runs one program under limits, in a process group of its own, and never waits for it blindly.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use wait4::Wait4;

use crate::channel::Interrupts;
use crate::error::ended as ended_by;
use crate::os::{self, Crowd, Process};
use crate::proof;
use crate::remains::{Resource, Usage};
use crate::sandbox::Sandbox;
use crate::shim;
use crate::triton::resident::Resident;
use crate::wire::Bounds;
use crate::worker_proc::WorkerCommand;

/// Bytes of output that are kept, from its end.
const TAIL: usize = 16 << 10;
/// Bytes read after the group is dead. A process that escaped from the group could write for ever.
const DRAIN: usize = 1 << 20;
/// How often a job's processes are counted.
pub(crate) const COUNT_EVERY: Duration = Duration::from_millis(10);

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
    /// How programs are confined.
    pub sandbox: Sandbox,
}

/// A program to run.
pub(crate) struct Program<'a> {
    pub path: &'a Path,
    pub arguments: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
    pub directory: &'a Path,
}

/// What came of trying a result.
#[derive(Debug)]
pub(crate) enum Trial {
    /// It is what it is claimed to be, on this instruction set.
    Proven { on: String },
    /// It is not.
    Wrong { reason: String },
    /// It killed the process that tried it.
    Crashed { signal: i32, output: String },
    /// The pool cancelled the job or is gone.
    Interrupted,
    /// It was not tried.
    Cannot { reason: String },
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// By itself or by a signal.
    Exited {
        signal: Option<i32>,
        code: Option<i32>,
        output: String,
        usage: Usage,
    },
    /// At a limit, killed.
    Over {
        resource: Resource,
        output: String,
        usage: Usage,
    },
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

    /// The processes of a job in this group; `resident` are none of them.
    pub(crate) fn crowd(&self, group: &Group, resident: Vec<u32>, bounds: &Bounds) -> Crowd {
        let adopted = self.owns_all_children.then_some(resident);
        Crowd::new(group.number(), adopted, bounds.processes)
    }

    fn run_in_group(
        &self,
        guard: &Group,
        program: &Program<'_>,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> io::Result<Ended> {
        let mut command = self.command.shim_command(shim::EXEC_LIMITED);
        command
            .args(shim::exec_limited_arguments(bounds, self.sandbox, &[]))
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
            .process_group(guard.number());
        let (child, mut output) = heard(command)?;
        let resident = self.resident.borrow();
        let resident = resident.as_ref().map(Resident::processes);
        let limits = Limits {
            deadline,
            crowd: self.crowd(guard, resident.unwrap_or_default(), bounds),
        };
        let stop = wait(&child, &mut output, limits, interrupts)?;
        guard.kill();
        let (status, usage) = child.reap()?;
        Ok(match stop {
            Stop::Ended => exited(status, output.finish(), usage),
            Stop::Over(resource) => Ended::Over {
                resource,
                output: output.finish(),
                usage,
            },
            Stop::Interrupted => Ended::Interrupted,
        })
    }
}

impl Program<'_> {
    /// The program as it can be started by hand, in a directory with the source. Where temporary files go is
    /// left out: that directory is gone by then.
    pub(crate) fn command_line(&self) -> String {
        let environment = self
            .environment
            .iter()
            .filter(|(name, _)| *name != "TMPDIR")
            .map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = self.arguments.iter().map(|word| quoted(word));
        let mut line = vec!["env".to_owned(), "-i".to_owned()];
        line.extend(environment);
        line.push(quoted(self.path.as_os_str()));
        line.extend(words);
        line.join(" ")
    }
}

/// A word as a shell reads it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+./:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// How long a result may be tried. A few milliseconds are usual.
const TRIAL: Duration = Duration::from_secs(10);

impl Launcher {
    /// Has the file at `path` tried by a process that is thrown away. It starts no other and dies with this one, so
    /// that it needs no guard.
    pub(crate) fn prove(
        &self,
        path: &Path,
        claim: &str,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> io::Result<Trial> {
        let mut command = self.command.verb_command(proof::PROVE);
        command
            .args(proof::arguments(bounds, self.sandbox, claim))
            .current_dir("/")
            .stdin(File::open(path)?)
            .process_group(0);
        let (child, mut output) = heard(command)?;
        let deadline = deadline.min(Instant::now() + TRIAL);
        let crowd = Crowd::none();
        let stop = wait(&child, &mut output, Limits { deadline, crowd }, interrupts)?;
        let (status, usage) = child.reap()?;
        let ended = exited(status, output.finish(), usage);
        Ok(match (stop, ended) {
            (Stop::Interrupted, _) => Trial::Interrupted,
            (Stop::Over(_), _) => Trial::Wrong {
                reason: format!("it did not end within {} s", TRIAL.as_secs()),
            },
            (_, Ended::CannotExecute { reason }) => Trial::Cannot { reason },
            (
                _,
                Ended::Exited {
                    signal,
                    code,
                    output,
                    ..
                },
            ) => match (signal, code) {
                (Some(signal), _) => Trial::Crashed { signal, output },
                (None, Some(0)) => Trial::Proven { on: output },
                (None, Some(proof::WRONG)) => Trial::Wrong { reason: output },
                (None, code) => Trial::Cannot {
                    reason: format!(
                        "the process that tries it {}: {output}",
                        ended_by(None, code)
                    ),
                },
            },
            (_, Ended::Over { .. } | Ended::Interrupted) => Trial::Interrupted,
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

/// Starts a program whose output is heard.
fn heard(mut command: Command) -> io::Result<(Member, Output)> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = Member(Some(command.spawn()?));
    // Our copies of the pipe's write end live in `command`.
    drop(command);
    Ok((child, Output::new(reader)?))
}

/// A child that is dead and reaped when this value is gone.
struct Member(Option<Child>);

impl Member {
    /// Kills the child, if it lives, and says how it ended and what it used.
    fn reap(mut self) -> io::Result<(ExitStatus, Usage)> {
        let Some(mut child) = self.0.take() else {
            return Err(io::Error::other("the child was reaped before"));
        };
        // The number of one that has ended is its own until it is waited for.
        let _ = child.kill();
        let wait4::ResUse { status, rusage } = child.wait4()?;
        let usage = Usage {
            cpu: rusage.utime + rusage.stime,
            peak: rusage.maxrss,
        };
        Ok((status, usage))
    }
}

fn is_not_permitted(ended: &io::Result<Ended>) -> bool {
    ended
        .as_ref()
        .is_err_and(|error| Errno::from_io_error(error) == Some(Errno::PERM))
}

/// Why a program is waited for no longer.
enum Stop {
    Ended,
    Over(Resource),
    Interrupted,
}

/// The limits that no system call puts on the program.
struct Limits {
    deadline: Instant,
    crowd: Crowd,
}

fn wait(
    child: &Member,
    output: &mut Output,
    mut limits: Limits,
    interrupts: &mut Interrupts<'_>,
) -> io::Result<Stop> {
    let Some(child) = &child.0 else {
        return Ok(Stop::Ended);
    };
    let process = Process::of(child)?;
    loop {
        if interrupts.pending() {
            return Ok(Stop::Interrupted);
        }
        let socket = interrupts.as_fd();
        let mut fds = vec![(process.as_fd(), false), (socket, false)];
        fds.extend(output.pipe.as_ref().map(|pipe| (pipe.as_fd(), false)));
        let next = limits.deadline.min(Instant::now() + COUNT_EVERY);
        let ready = os::wait_for(&fds, Some(next))?;
        let said_something = ready.get(2).is_some_and(|pipe| pipe.readable);
        let ended = ready[0].readable;
        if ready[1].readable {
            interrupts.read();
        }
        if said_something {
            output.read(TAIL);
        }
        if ended {
            return Ok(Stop::Ended);
        }
        if Instant::now() >= limits.deadline {
            return Ok(Stop::Over(Resource::Wall));
        }
        if limits.crowd.is_too_large() {
            return Ok(Stop::Over(Resource::Processes));
        }
    }
}

fn exited(status: ExitStatus, output: String, usage: Usage) -> Ended {
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
        usage,
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
