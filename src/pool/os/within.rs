//! Limits that a worker takes on itself for as long as it does a task.

use std::io;

use rustix::process::{Resource, Rlimit};
use rustix::time::ClockId;

use crate::wire::Bounds;

/// Limits in force; dropping it puts back those that were there before.
#[derive(Debug)]
pub(crate) struct Within(Vec<(Resource, Rlimit)>);

impl Within {
    /// Limits the processor time that this process uses from now on, and its address space. Only the soft limits change: only those can be put back.
    ///
    /// At the end of its time the kernel kills the process by SIGXCPU; memory that it does not get, it has to do without.
    pub(crate) fn bounds(bounds: &Bounds) -> io::Result<Self> {
        let used = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
        // The kernel counts whole seconds, and what was begun of one counts as used.
        let used = u64::try_from(used.tv_sec).unwrap_or_default() + 1;
        let mut within = Self(Vec::new());
        within.limit(Resource::Cpu, used.saturating_add(bounds.cpu_s))?;
        within.limit(Resource::As, bounds.memory)?;
        Ok(within)
    }

    fn limit(&mut self, resource: Resource, soft: u64) -> io::Result<()> {
        let before = rustix::process::getrlimit(resource);
        let most = before.current.unwrap_or(u64::MAX);
        // All that a limit can hold means that there is none.
        if soft < most {
            let limit = Rlimit {
                current: Some(soft),
                maximum: before.maximum,
            };
            rustix::process::setrlimit(resource, limit)?;
            self.0.push((resource, before));
        }
        Ok(())
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        for (resource, before) in self.0.drain(..) {
            // What was in force before is allowed.
            let _ = rustix::process::setrlimit(resource, before);
        }
    }
}
