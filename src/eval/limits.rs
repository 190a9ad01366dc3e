//! What an evaluation may take at most, so that no input, however hostile, makes it run or grow without end.
//!
//! Memory is counted where it is taken: while a [`Limits`] is in force on a thread, every buffer that is made there is charged to it
//! until the buffer is dropped. Work is counted in elements computed and products added.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// What an evaluation may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Steps: one for each node that runs and for each element or product it computes.
    pub work: u64,
    /// Nested calls and blocks.
    pub depth: u32,
    /// Bytes of tensors alive at a time.
    pub bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            work: 1 << 42,
            depth: 128,
            bytes: 16 << 30,
        }
    }
}

/// Bytes alive, and how many there may be.
#[derive(Debug)]
pub(crate) struct Gauge {
    live: AtomicU64,
    limit: u64,
}

thread_local! {
    static IN_FORCE: RefCell<Vec<Arc<Gauge>>> = const { RefCell::new(Vec::new()) };
}

impl Gauge {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            live: AtomicU64::new(0),
            limit,
        })
    }

    /// Puts the gauge in force on this thread until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> InForce {
        IN_FORCE.with_borrow_mut(|stack| stack.push(Arc::clone(self)));
        InForce(())
    }
}

/// Ends a gauge's force when dropped.
pub(crate) struct InForce(());

impl Drop for InForce {
    fn drop(&mut self) {
        IN_FORCE.with_borrow_mut(Vec::pop);
    }
}

/// Bytes that are charged to a gauge until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Charge(Option<(Arc<Gauge>, u64)>);

/// Charges `bytes` to the gauge in force.
pub(crate) fn charge(bytes: u64) -> Result<Charge> {
    let Some(gauge) = IN_FORCE.with_borrow(|stack| stack.last().cloned()) else {
        return Ok(Charge(None));
    };
    let before = gauge.live.fetch_add(bytes, Ordering::Relaxed);
    if before.saturating_add(bytes) > gauge.limit {
        gauge.live.fetch_sub(bytes, Ordering::Relaxed);
        return Err(too_large(gauge.limit));
    }
    Ok(Charge(Some((gauge, bytes))))
}

/// Whether `count` things of `size` bytes may be taken for a moment; what they hold is not charged.
pub(crate) fn room(count: usize, size: usize) -> Result<()> {
    let limit = IN_FORCE.with_borrow(|stack| stack.last().map(|gauge| gauge.limit));
    let limit = limit.unwrap_or(isize::MAX as u64);
    match count.checked_mul(size) {
        Some(bytes) if bytes as u64 <= limit => Ok(()),
        _ => Err(too_large(limit)),
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some((gauge, bytes)) = self.0.take() {
            gauge.live.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

fn too_large(limit: u64) -> Error {
    Error::Limit {
        what: "bytes of tensors",
        limit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_charged_while_they_live() {
        let gauge = Gauge::new(100);
        let _in_force = gauge.enter();
        let first = charge(60).unwrap();
        assert!(charge(60).is_err() && room(10, 11).is_err());
        drop(first);
        assert!(charge(60).is_ok());
    }
}
