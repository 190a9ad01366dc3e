//! From how a run ended to what the caller is told.

use std::time::Duration;

use crate::dispatch::{Death, End, Trouble};
use crate::error::{Diagnostics, JobError, Limit, Process};
use crate::wire::Failure;

/// The limits of a job, for the errors that name them.
#[derive(Clone, Copy)]
pub(crate) struct Clocks {
    pub wall: Duration,
    pub cpu: Duration,
}

/// What the caller is told.
pub(crate) fn job_error(job: String, clocks: Clocks, end: End) -> JobError {
    match end {
        End::Failed(failure) => failed(job, clocks, failure),
        End::Died(Death {
            cause: Some(cause), ..
        })
        | End::NoWorker(Trouble::Protocol(cause)) => JobError::Protocol {
            job,
            expected: cause.expected(),
            got: cause.got(),
        },
        End::Died(Death {
            signal: None,
            code: Some(0),
            stderr,
            ..
        }) => JobError::WorkerGone { job, stderr },
        End::Died(Death {
            signal,
            code,
            stderr,
            ..
        }) => JobError::Crashed {
            job,
            process: Process::Worker,
            signal,
            code,
            stderr,
        },
        End::GivenUp(evidence) => JobError::GivenUp { job, evidence },
        End::Overran { limit } => JobError::TimedOut {
            job,
            limit: Limit::Wall(limit),
            stderr: String::new(),
        },
        End::NoWorker(Trouble::Start(reason)) => JobError::Spawn { job, reason },
        End::Cancelled => JobError::Cancelled { job },
        End::Cached | End::Made { .. } | End::Closed => JobError::Closed { job },
    }
}

fn failed(job: String, clocks: Clocks, failure: Failure) -> JobError {
    match failure {
        Failure::Compile { code, stderr } => JobError::Compile {
            job,
            diagnostics: Diagnostics { code, stderr },
        },
        Failure::Crashed {
            signal,
            code,
            stderr,
        } => JobError::Crashed {
            job,
            process: Process::Compiler,
            signal,
            code,
            stderr,
        },
        Failure::WallTime { stderr } => JobError::TimedOut {
            job,
            limit: Limit::Wall(clocks.wall),
            stderr,
        },
        Failure::CpuTime { stderr } => JobError::TimedOut {
            job,
            limit: Limit::Cpu(clocks.cpu),
            stderr,
        },
        Failure::Cancelled => JobError::Cancelled { job },
        Failure::Output { expected, got } => JobError::Protocol { job, expected, got },
        Failure::Toolchain { reason } => JobError::ToolchainMissing { job, reason },
        Failure::Spawn { reason } => JobError::Spawn { job, reason },
        Failure::Scratch { reason } => JobError::Scratch { job, reason },
        Failure::Task { reason } => JobError::Task { job, reason },
        Failure::Unsupported { kind } => JobError::Protocol {
            job,
            expected: "a worker that can do the job".to_owned(),
            got: format!("one that has no handler for `{kind}`"),
        },
    }
}
