//! How many jobs may be under way: whoever brings more waits, or is told.

use std::cell::Cell;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

thread_local! {
    /// Whether this thread is telling somebody of an answer. What is submitted from there cannot wait for answers.
    static ANSWERS: Cell<bool> = const { Cell::new(false) };
}

/// The way in.
#[derive(Debug)]
pub(crate) struct Admission {
    most: usize,
    crowd: Mutex<Crowd>,
    room: Condvar,
}

#[derive(Debug, Default)]
struct Crowd {
    under_way: usize,
    /// How many threads sleep until there is room.
    waiting: usize,
}

/// One job's right to be under way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Admission>);

impl Admission {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            crowd: Mutex::default(),
            room: Condvar::new(),
        }
    }

    /// Waits for room.
    pub(crate) fn enter(self: &Arc<Self>) -> Pass {
        let mut crowd = self.lock();
        while crowd.under_way >= self.most && !ANSWERS.get() {
            crowd.waiting += 1;
            let waited = self.room.wait(crowd);
            crowd = waited.unwrap_or_else(PoisonError::into_inner);
            crowd.waiting -= 1;
        }
        crowd.under_way += 1;
        Pass(Arc::clone(self))
    }

    /// Does not wait.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Pass> {
        let mut crowd = self.lock();
        if crowd.under_way >= self.most {
            return None;
        }
        crowd.under_way += 1;
        Some(Pass(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, Crowd> {
        self.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut crowd = self.0.lock();
        crowd.under_way -= 1;
        if crowd.waiting > 0 && crowd.under_way < self.0.most {
            drop(crowd);
            self.0.room.notify_one();
        }
    }
}

/// Tells somebody of an answer.
pub(crate) fn while_answering<T>(tell: impl FnOnce() -> T) -> T {
    let _after = Answered(ANSWERS.replace(true));
    tell()
}

/// What was before, to be so again, also after a panic.
struct Answered(bool);

impl Drop for Answered {
    fn drop(&mut self) {
        ANSWERS.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_comes_when_it_is_full_waits_or_is_told() {
        let admission = Arc::new(Admission::new(2));
        let first = admission.enter();
        let _second = admission.enter();
        assert!(admission.try_enter().is_none());
        let (came, comes) = std::sync::mpsc::channel();
        let way = Arc::clone(&admission);
        let waits = std::thread::spawn(move || {
            let pass = way.enter();
            came.send(()).expect("it is heard");
            drop(pass);
        });
        assert!(comes.recv_timeout(Duration::from_millis(50)).is_err());
        drop(first);
        comes.recv().expect("it came");
        waits.join().expect("it ended well");
        assert!(admission.try_enter().is_some());
    }

    #[test]
    fn who_is_told_of_an_answer_never_waits() {
        let admission = Arc::new(Admission::new(1));
        let _only = admission.enter();
        drop(while_answering(|| admission.enter()));
    }
}
