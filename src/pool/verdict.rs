//! From how a run ended to what the caller is told.

use crate::dispatch::{Death, End, Trouble};
use crate::error::{Diagnostics, JobError, Limit, Process};
use crate::job::Limits;
use crate::remains::{Remains, Resource};
use crate::wire::Failure;

/// What the caller is told.
pub(crate) fn job_error(job: String, bounds: &Limits, end: End) -> JobError {
    match end {
        End::Failed(failure) => failed(job, bounds, failure),
        End::Died(Death {
            cause: Some(cause), ..
        })
        | End::NoWorker(Trouble::Protocol(cause)) => JobError::Protocol {
            job,
            expected: cause.expected(),
            got: cause.got(),
        },
        End::Died(death) if death.is_out_of_time() => JobError::OverLimit {
            job,
            limit: Limit::Cpu(bounds.cpu),
            remains: Box::new(Remains::words(death.stderr)),
        },
        End::Died(Death {
            signal: None,
            code: Some(0),
            stderr,
            ..
        }) => JobError::WorkerGone {
            job,
            remains: Box::new(Remains::words(stderr)),
        },
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
            remains: Box::new(Remains::words(stderr)),
        },
        End::GivenUp(evidence) => JobError::GivenUp {
            job,
            evidence: Box::new(evidence),
        },
        End::Overran { limit } => JobError::OverLimit {
            job,
            limit: Limit::Wall(limit),
            remains: Box::default(),
        },
        End::NoWorker(Trouble::Start(reason)) => JobError::Spawn { job, reason },
        End::Cancelled => JobError::Cancelled { job },
        End::Cached | End::Made { .. } | End::Closed => JobError::Closed { job },
    }
}

fn failed(job: String, bounds: &Limits, failure: Failure) -> JobError {
    match failure {
        Failure::Compile { code, remains } => JobError::Compile {
            job,
            diagnostics: Diagnostics {
                code,
                remains: Box::new(remains),
            },
        },
        Failure::Crashed {
            process,
            signal,
            code,
            remains,
        } => JobError::Crashed {
            job,
            process,
            signal,
            code,
            remains: Box::new(remains),
        },
        Failure::Over { resource, remains } => JobError::OverLimit {
            job,
            limit: match resource {
                Resource::Wall => Limit::Wall(bounds.wall.unwrap_or_default()),
                Resource::Cpu => Limit::Cpu(bounds.cpu),
                Resource::Memory => Limit::Memory(bounds.memory),
                Resource::Processes => Limit::Processes(bounds.processes),
            },
            remains: Box::new(remains),
        },
        Failure::Wrong { reason, remains } => JobError::Wrong {
            job,
            reason,
            remains: Box::new(remains),
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
