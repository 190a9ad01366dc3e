//! Gives bytes back, after a while.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::remains::{Remains, Resource};
use crate::wire::{Failure, JobKind};
use crate::worker::{Handler, JobContext};

/// The handler of [`JobKind::Echo`].
#[derive(Debug)]
pub(crate) struct EchoJobs;

impl Handler for EchoJobs {
    fn takes(&self, kind: &JobKind) -> bool {
        matches!(kind, JobKind::Echo(_))
    }

    fn run(&self, kind: &JobKind, context: &mut JobContext<'_>) -> Result<Bytes, Failure> {
        let JobKind::Echo(job) = kind else {
            return Err(Failure::Unsupported {
                kind: kind.name().to_owned(),
            });
        };
        if job.hold_ms > 0 {
            let deadline = context.deadline();
            let until = Instant::now().checked_add(Duration::from_millis(job.hold_ms));
            if context.cancelled_before(until.map_or(deadline, |until| until.min(deadline))) {
                return Err(Failure::Cancelled);
            }
            if until.is_none_or(|until| until > deadline) {
                return Err(Failure::Over {
                    resource: Resource::Wall,
                    remains: Remains::default(),
                });
            }
        }
        Ok(job.payload.clone())
    }
}
