//! How many workers can take jobs, and waiting for them.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The number of workers that have said hello and done their first job.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    ready: Mutex<usize>,
    changed: Condvar,
}

impl Readiness {
    pub(crate) fn set(&self, ready: usize) {
        let mut now = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if *now != ready {
            *now = ready;
            self.changed.notify_all();
        }
    }

    pub(crate) fn get(&self) -> usize {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many are ready, and says whether they are.
    pub(crate) fn wait(&self, wanted: usize, time: Duration) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(ready, time, |ready| *ready < wanted);
        let (ready, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *ready >= wanted
    }
}
