//! Work that the program around this crate has given a name.

use bytes::Bytes;

use crate::os::Within;
use crate::wire::{Failure, JobKind};
use crate::worker::{Handler, JobContext};

/// The handler of the tasks of one name.
pub(crate) struct TaskJobs<F> {
    pub name: &'static str,
    pub run: F,
}

impl<F> Handler for TaskJobs<F>
where
    F: Fn(&[u8], &mut JobContext<'_>) -> Result<Vec<u8>, String> + Send,
{
    fn takes(&self, kind: &JobKind) -> bool {
        matches!(kind, JobKind::Task(task) if task.name == self.name)
    }

    fn run(&self, kind: &JobKind, context: &mut JobContext<'_>) -> Result<Bytes, Failure> {
        let JobKind::Task(task) = kind else {
            let kind = kind.name().to_owned();
            return Err(Failure::Unsupported { kind });
        };
        // On a thread of somebody else's process there are no limits to take on.
        let own_process = context.workshop().0.owns_all_children;
        let within = own_process.then(|| Within::bounds(context.bounds()));
        let _within = within.transpose().map_err(|error| Failure::Spawn {
            reason: format!("take on the limits of the task: {error}"),
        })?;
        let done = (self.run)(&task.payload, context);
        done.map(Bytes::from)
            .map_err(|reason| Failure::Task { reason })
    }
}
