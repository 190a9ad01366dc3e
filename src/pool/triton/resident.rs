//! A Python that has Triton loaded and waits for jobs: started once by a worker, forked for each job.
//!
//! Loading Triton and its first compilation take a second; a process that is forked afterwards has
//! both behind it. The program is `resident.py`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use serde::{Deserialize, Serialize};

use crate::channel::Interrupts;
use crate::child::{COUNT_EVERY, Group, Launcher};
use crate::error::ended;
use crate::os::{self, Crowd, Process};
use crate::shim;
use crate::triton::search::environment;
use crate::triton::signature::Kind;
use crate::wire::{self, Bounds, CompileTriton, Decoder, Frame, FrameKind, TritonTools};
use crate::worker_proc::end_of;

const PROGRAM: &str = include_str!("resident.py");
/// How long Python may take to say how a job's process ended after that was killed.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long it may take to read a job.
const LISTENING: Duration = Duration::from_secs(10);

/// A Python with Triton.
#[derive(Debug)]
pub(crate) struct Resident {
    tools: TritonTools,
    child: Child,
    socket: UnixStream,
    decoder: Decoder,
    stderr: File,
    jobs: u64,
    /// Kills Python when this process is gone, however it went.
    guard: Group,
    _lifeline: PipeWriter,
}

/// How a job's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Ended {
    pub signal: Option<i32>,
    pub code: Option<i32>,
    /// Milliseconds of processor time.
    pub cpu_ms: u64,
    /// Most memory that it had.
    pub peak_kib: u64,
}

/// Why there is no such end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoEnd {
    /// The wall clock ran out.
    TimedOut,
    /// The job has more processes than it may have.
    Crowded,
    /// The pool cancelled the job or is gone.
    Interrupted,
    /// Python died; what it wrote says why.
    Gone { how: String, stderr: String },
    /// A process or a file could not be made.
    Cannot { reason: String },
}

#[derive(Serialize)]
struct Greeting {
    arch: u32,
}

#[derive(Serialize)]
struct Order<'a> {
    text: &'a str,
    function: &'a str,
    parameters: Vec<(&'a str, String, serde_json::Value)>,
    arch: u32,
    options: serde_json::Value,
    ptxas: String,
    directory: String,
    group: i32,
    bounds: &'a Bounds,
}

impl Resident {
    /// Starts Python and waits until it is warm.
    pub(crate) fn start(
        launcher: &Launcher,
        job: &CompileTriton,
        scratch: &Path,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> Result<Self, NoEnd> {
        let mut resident = Self::spawn(launcher, &job.tools, scratch)?;
        let arch = job.arch.number();
        resident.send(FrameKind::Hello, 0, &Greeting { arch })?;
        match resident.receive(deadline, &mut Crowd::none(), interrupts)? {
            frame if frame.kind == FrameKind::Hello => Ok(resident),
            frame => Err(NoEnd::Cannot {
                reason: format!("Triton's worker greets with a {:?} frame", frame.kind),
            }),
        }
    }

    /// Whether it lives and works with these tools.
    pub(crate) fn serves(&mut self, tools: &TritonTools) -> bool {
        self.tools == *tools && matches!(self.child.try_wait(), Ok(None))
    }

    /// The processes that outlive a job.
    pub(crate) fn processes(&self) -> Vec<u32> {
        vec![self.child.id(), self.guard.number().cast_unsigned()]
    }

    /// Has a job done by a process of its own, in a group of its own, which is dead when this
    /// returns.
    pub(crate) fn run(
        &mut self,
        launcher: &Launcher,
        job: &CompileTriton,
        directory: &Path,
        bounds: &Bounds,
        deadline: Instant,
        interrupts: &mut Interrupts<'_>,
    ) -> Result<Ended, NoEnd> {
        let (group, lifeline) = launcher.group().map_err(|error| cannot(&error))?;
        self.jobs += 1;
        let number = self.jobs;
        let order = order(job, directory, group.number(), bounds);
        let mut crowd = launcher.crowd(&group, self.processes(), bounds);
        let heard = self
            .send(FrameKind::Job, number, &order)
            .and_then(|()| self.answer(number, deadline, &mut crowd, interrupts));
        group.kill();
        let ended = match heard {
            Err(stop @ (NoEnd::TimedOut | NoEnd::Crowded | NoEnd::Interrupted)) => {
                // Python is well and tells of a process that is dead now. If it does not, it is of
                // no use any more, and the process may be in its group still.
                let now = Instant::now();
                if self.late_answer(number, now + LAST_WORDS).is_err() {
                    self.kill();
                }
                Err(stop)
            }
            heard => heard,
        };
        // Dropping the group kills it; the lifeline must not be the thing that does it.
        drop(group);
        drop(lifeline);
        ended
    }

    fn spawn(launcher: &Launcher, tools: &TritonTools, scratch: &Path) -> Result<Self, NoEnd> {
        let spawn = || -> io::Result<Self> {
            let home = home(scratch)?;
            let program = home.join("resident.py");
            fs::write(&program, PROGRAM)?;
            let (socket, other) = UnixStream::pair()?;
            socket.set_write_timeout(Some(LISTENING))?;
            let stderr = tempfile::tempfile_in(scratch)?;
            let (guard, lifeline) = launcher.group()?;
            // It has no limits of its own: it waits, and each job's process takes the job's.
            let bounds = Bounds::none();
            let child = launcher
                .command
                .shim_command(shim::EXEC_LIMITED)
                .args(shim::exec_limited_arguments(
                    &bounds,
                    launcher.sandbox,
                    &files(tools),
                ))
                .arg(&tools.python)
                .args(["-s", "-B"])
                .arg(&program)
                .arg(wire::VERSION.to_string())
                .envs(environment())
                .env("HOME", &home)
                .env("TMPDIR", &home)
                .env("TRITON_CACHE_DIR", home.join("cache"))
                // Unset it means yes to Triton 3.9 and no to 3.10, and it changes results. Each job
                // says it for itself besides.
                .env("TRITON_DEFAULT_FP_FUSION", "0")
                .env("TRITON_PTXAS_PATH", &tools.ptxas)
                .env("TRITON_PTXAS_BLACKWELL_PATH", &tools.ptxas_blackwell)
                // What it may change, jobs' directories among it.
                .current_dir(scratch)
                .stdin(OwnedFd::from(other))
                .stdout(stderr.try_clone()?)
                .stderr(stderr.try_clone()?)
                .process_group(guard.number())
                .spawn()?;
            Ok(Self {
                tools: tools.clone(),
                child,
                socket,
                decoder: Decoder::default(),
                stderr,
                jobs: 0,
                guard,
                _lifeline: lifeline,
            })
        };
        spawn().map_err(|error| cannot(&error))
    }

    fn send<T: Serialize>(&mut self, kind: FrameKind, job: u64, message: &T) -> Result<(), NoEnd> {
        let mut bytes = Vec::new();
        let payload = serde_json::to_vec(message).map_err(|error| cannot(&error.into()))?;
        Frame::new(kind, job, payload)
            .encode(&mut bytes)
            .map_err(|error| NoEnd::Cannot {
                reason: error.to_string(),
            })?;
        match self.socket.write_all(&bytes) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.gone()),
        }
    }

    fn answer(
        &mut self,
        number: u64,
        deadline: Instant,
        crowd: &mut Crowd,
        interrupts: &mut Interrupts<'_>,
    ) -> Result<Ended, NoEnd> {
        let frame = self.receive(deadline, crowd, interrupts)?;
        understood(&frame, number)
    }

    fn late_answer(&mut self, number: u64, deadline: Instant) -> Result<Ended, NoEnd> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return understood(&frame, number);
            }
            self.wait(deadline, None)?;
        }
    }

    fn receive(
        &mut self,
        deadline: Instant,
        crowd: &mut Crowd,
        interrupts: &mut Interrupts<'_>,
    ) -> Result<Frame, NoEnd> {
        loop {
            if let Some(frame) = self.next_frame()? {
                return Ok(frame);
            }
            if interrupts.pending() {
                return Err(NoEnd::Interrupted);
            }
            let next = deadline.min(Instant::now() + COUNT_EVERY);
            match self.wait(next, Some(interrupts)) {
                Err(NoEnd::TimedOut) if next < deadline => {}
                waited => waited?,
            }
            if crowd.is_too_large() {
                return Err(NoEnd::Crowded);
            }
        }
    }

    fn next_frame(&mut self) -> Result<Option<Frame>, NoEnd> {
        self.decoder.next_frame().map_err(|error| NoEnd::Cannot {
            reason: format!("hear Triton's worker: {error}"),
        })
    }

    /// Takes in what Python sends, or what the pool does.
    fn wait(
        &mut self,
        deadline: Instant,
        interrupts: Option<&mut Interrupts<'_>>,
    ) -> Result<(), NoEnd> {
        let mut fds = vec![(self.socket.as_fd(), false)];
        fds.extend(interrupts.as_ref().map(|pool| (pool.as_fd(), false)));
        let ready = os::wait_for(&fds, Some(deadline)).map_err(|error| cannot(&error))?;
        if let Some(pool) = interrupts
            && ready[1].readable
        {
            pool.read();
        }
        if ready[0].readable {
            let mut buffer = [0; 4096];
            match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Err(self.gone()),
                Ok((_, count)) => self.decoder.push(&buffer[..count]),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return Err(self.gone()),
            }
        } else if Instant::now() >= deadline {
            return Err(NoEnd::TimedOut);
        }
        Ok(())
    }

    fn kill(&mut self) {
        self.guard.kill();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What is known of a Python that has closed its socket.
    fn gone(&mut self) -> NoEnd {
        // It closes it by ending; one that does not end is ended.
        let ended_by_itself = Process::of(&self.child).and_then(|process| {
            let soon = Instant::now() + LAST_WORDS;
            os::wait_for(&[(process.as_fd(), false)], Some(soon))
        });
        self.kill();
        let status = self.child.wait().ok();
        let how = match ended_by_itself {
            Ok(ready) if ready[0].readable => ended(
                status.and_then(|status| status.signal()),
                status.and_then(|status| status.code()),
            ),
            _ => "closed its socket".to_owned(),
        };
        NoEnd::Gone {
            how,
            stderr: end_of(&self.stderr),
        }
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory for Python's own files, empty.
fn home(scratch: &Path) -> io::Result<PathBuf> {
    let home = scratch.join("triton");
    match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(&home)?;
    Ok(home)
}

/// What Python may read besides its own installation: the virtual environment, Triton with the packages beside it,
/// and the assemblers.
fn files(tools: &TritonTools) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = [&tools.ptxas, &tools.ptxas_blackwell]
        .map(PathBuf::from)
        .into();
    let above = |path: &OsString| Path::new(path).parent().map(Path::to_owned);
    files.extend(above(&tools.package));
    if let Some(environment) = above(&tools.python).as_deref().and_then(Path::parent)
        && environment.join("pyvenv.cfg").exists()
    {
        let parts = ["pyvenv.cfg", "bin", "lib", "lib64"];
        files.extend(parts.map(|part| environment.join(part)));
    }
    files
}

fn order<'a>(
    job: &'a CompileTriton,
    directory: &Path,
    group: i32,
    bounds: &'a Bounds,
) -> Order<'a> {
    let parameters = job.source.signature().parameters().iter();
    let parameters = parameters.map(|parameter| {
        let (ty, value) = match parameter.kind {
            Kind::Pointer { of, divisor } => (format!("*{}", of.name()), divisor.into()),
            Kind::Scalar { of, divisor } => (of.name().to_owned(), divisor.into()),
            Kind::Constant(value) => ("constexpr".to_owned(), serde_json::json!(value)),
        };
        (parameter.name.as_str(), ty, value)
    });
    let options = &job.source.options;
    Order {
        text: job.source.text(),
        function: job.source.function(),
        parameters: parameters.collect(),
        arch: job.arch.number(),
        options: serde_json::json!({
            "num_warps": options.warps,
            "num_ctas": options.ctas,
            "num_stages": options.stages,
            "enable_fp_fusion": options.fp_fusion,
        }),
        ptxas: job.tools.ptxas(job.arch).to_string_lossy().into_owned(),
        directory: directory.to_string_lossy().into_owned(),
        group,
        bounds,
    }
}

fn understood(frame: &Frame, number: u64) -> Result<Ended, NoEnd> {
    if frame.kind != FrameKind::Done || frame.job != number {
        return Err(NoEnd::Cannot {
            reason: format!(
                "Triton's worker answers with a {:?} frame for job {}, and job {number} was asked for",
                frame.kind, frame.job
            ),
        });
    }
    serde_json::from_slice(&frame.payload).map_err(|error| cannot(&error.into()))
}

fn cannot(error: &io::Error) -> NoEnd {
    NoEnd::Cannot {
        reason: error.to_string(),
    }
}
