//! What can go wrong: with the pool itself ([`Error`]) and with one job ([`JobError`]).
//!
//! Both are values that can be cloned, since every ticket of a deduplicated job gets the same one.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quarantine::Evidence;
use crate::remains::Remains;

/// Why a pool, a cache or a toolchain could not be set up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache directory is not one to load code from.
    #[error("use the cache directory {}: {reason}", path.display())]
    CacheDirectory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory for temporary files cannot be made.
    #[error("make a private temporary directory in {}: {reason}", path.display())]
    Scratch {
        /// The directory around it.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The worker program is not there or cannot be executed.
    #[error("use the worker program {}: {reason}", path.display())]
    Worker {
        /// The program.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No C compiler was found.
    #[error("find a C compiler: {searched}")]
    NoCompiler {
        /// Where was looked for which names.
        searched: String,
    },
    /// There is a C compiler, and it does not work.
    #[error("use the C compiler {}: {reason}", path.display())]
    BrokenCompiler {
        /// The compiler.
        path: PathBuf,
        /// What it did.
        reason: String,
    },
    /// Triton, or the description of a kernel for it, is not what it must be.
    #[error("{what}: {reason}")]
    Triton {
        /// What was to be done with what.
        what: String,
        /// Why it cannot be.
        reason: String,
    },
    /// Compilers cannot be confined as was asked.
    #[error("confine compilers: {reason}")]
    Sandbox {
        /// Why.
        reason: String,
    },
    /// A thread or a descriptor of the pool's own could not be made.
    #[error("start the pool: {reason}")]
    Start {
        /// Why.
        reason: String,
    },
}

/// Why a job has no artefact. Every case names the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The job is not one the pool accepts.
    #[error("accept job `{job}`: {reason}")]
    Refused {
        /// The job's name.
        job: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The compiler refused the source.
    #[error("compile `{job}`: {diagnostics}")]
    Compile {
        /// The job's name.
        job: String,
        /// What the compiler said.
        diagnostics: Diagnostics,
    },
    /// A process died on the job.
    #[error("finish `{job}`: the {process} {}{remains}", ended(*signal, *code))]
    Crashed {
        /// The job's name.
        job: String,
        /// Which process.
        process: Process,
        /// The signal that killed it.
        signal: Option<i32>,
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// What is known of it.
        remains: Box<Remains>,
    },
    /// The job has killed so often that it is not run any more, until its record is removed with the
    /// cache or the compiler changes.
    #[error("finish `{job}`: it is not tried again: {evidence}")]
    GivenUp {
        /// The job's name.
        job: String,
        /// What is known.
        evidence: Box<Evidence>,
    },
    /// The job ran into a limit.
    #[error("finish `{job}` within {limit}{remains}")]
    OverLimit {
        /// The job's name.
        job: String,
        /// The limit.
        limit: Limit,
        /// What is known of the compiler.
        remains: Box<Remains>,
    },
    /// What the compiler made is not what it should be.
    #[error("finish `{job}`: what the compiler made is wrong: {reason}{remains}")]
    Wrong {
        /// The job's name.
        job: String,
        /// What is wrong with it.
        reason: String,
        /// What is known of the compiler.
        remains: Box<Remains>,
    },
    /// A process for the job could not be started.
    #[error("start a process for `{job}`: {reason}")]
    Spawn {
        /// The job's name.
        job: String,
        /// Why.
        reason: String,
    },
    /// A worker or a compiler gave something that it should not give.
    #[error("finish `{job}`: expected {expected}, got {got}")]
    Protocol {
        /// The job's name.
        job: String,
        /// What should have come.
        expected: String,
        /// What came.
        got: String,
    },
    /// The worker ended without a crash and without an answer.
    #[error("finish `{job}`: the worker went away without an answer{remains}")]
    WorkerGone {
        /// The job's name.
        job: String,
        /// What is known of the worker.
        remains: Box<Remains>,
    },
    /// The job's compiler is not there any more, or cannot be executed.
    #[error("compile `{job}`: {reason}")]
    ToolchainMissing {
        /// The job's name.
        job: String,
        /// Which compiler, and why.
        reason: String,
    },
    /// The worker's private directory could not be written, for instance because the disk is full.
    #[error("write the files of `{job}`: {reason}")]
    Scratch {
        /// The job's name.
        job: String,
        /// Which file, and why.
        reason: String,
    },
    /// What does the task could not do it.
    #[error("do `{job}`: {reason}")]
    Task {
        /// The job's name.
        job: String,
        /// What it said.
        reason: String,
    },
    /// The ticket was cancelled.
    #[error("finish `{job}`: it was cancelled")]
    Cancelled {
        /// The job's name.
        job: String,
    },
    /// The pool was shut down before the job was finished.
    #[error("finish `{job}`: the pool was shut down")]
    Closed {
        /// The job's name.
        job: String,
    },
}

/// What a compiler said when it refused a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// Its exit code.
    pub code: i32,
    /// What is known of it.
    pub remains: Box<Remains>,
}

/// A process that can die on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Process {
    /// The worker.
    Worker,
    /// The compiler that the worker started, or a program which that compiler started.
    Compiler,
    /// What the compiler made, when it was tried.
    Result,
}

/// A limit that a job can run into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Time on the clock.
    Wall(Duration),
    /// Time on a processor.
    Cpu(Duration),
    /// Bytes of memory.
    Memory(u64),
    /// Processes at once.
    Processes(u32),
}

impl JobError {
    /// The name of the job.
    pub fn job(&self) -> &str {
        match self {
            Self::Refused { job, .. }
            | Self::Compile { job, .. }
            | Self::Crashed { job, .. }
            | Self::GivenUp { job, .. }
            | Self::OverLimit { job, .. }
            | Self::Wrong { job, .. }
            | Self::Spawn { job, .. }
            | Self::Protocol { job, .. }
            | Self::WorkerGone { job, .. }
            | Self::ToolchainMissing { job, .. }
            | Self::Scratch { job, .. }
            | Self::Task { job, .. }
            | Self::Cancelled { job }
            | Self::Closed { job } => job,
        }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the compiler ended with exit code {}{}",
            self.code, self.remains
        )
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Compiler => "compiler",
            Self::Result => "result",
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wall(time) => write!(f, "its {} s of wall-clock time", time.as_secs_f64()),
            Self::Cpu(time) => write!(f, "its {} s of processor time", time.as_secs_f64()),
            Self::Memory(bytes) => write!(f, "its {} MiB of memory", bytes >> 20),
            Self::Processes(count) => write!(f, "its {count} processes"),
        }
    }
}

/// How a process ended, in words that follow its name.
pub(crate) fn ended(signal: Option<i32>, code: Option<i32>) -> String {
    match (signal, code) {
        (Some(signal), None) => format!("was killed by {}", signal_name(signal)),
        (Some(signal), Some(code)) => {
            format!(
                "ended with exit code {code} because of {}",
                signal_name(signal)
            )
        }
        (None, Some(code)) => format!("ended with exit code {code}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// `SIGSEGV (11)`, or `signal 40`.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("{name} ({signal})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_names_job_process_and_signal() {
        let error = JobError::Crashed {
            job: "conv2d".into(),
            process: Process::Compiler,
            signal: Some(11),
            code: None,
            remains: Box::new(Remains::words("oh\n")),
        };
        assert_eq!(
            error.to_string(),
            "finish `conv2d`: the compiler was killed by SIGSEGV (11); it wrote:\noh"
        );
        assert_eq!(error.job(), "conv2d");
    }

    #[test]
    fn a_limit_says_which_clock() {
        let error = JobError::OverLimit {
            job: "j".into(),
            limit: Limit::Wall(Duration::from_millis(1500)),
            remains: Box::default(),
        };
        assert_eq!(
            error.to_string(),
            "finish `j` within its 1.5 s of wall-clock time"
        );
    }
}
