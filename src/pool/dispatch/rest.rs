//! Workers that have nothing to do, and those that work.

use std::cmp::Reverse;
use std::time::Instant;

use super::{Action, Life, State, Was};

impl State {
    /// The runs that workers are at: their slots, and since when.
    pub(crate) fn running(&self) -> impl Iterator<Item = (usize, u64, Instant)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, place)| match place.life {
            Life::Busy {
                run,
                since,
                cancelled: false,
                ..
            } => Some((slot, run, since)),
            _ => None,
        })
    }

    /// The tickets of a run.
    pub(crate) fn tickets(&self, run: u64) -> &[u64] {
        self.runs.get(&run).map_or(&[], |run| &run.tickets)
    }

    /// The slot's worker has nothing to do.
    pub(super) fn rest(&mut self, now: Instant, slot: usize) {
        self.slots[slot].life = Life::Idle;
        self.slots[slot].idle_since = Some(now);
    }

    /// The worker that is retired next, and when: the one that has rested for longest, and of those
    /// the one that is given work last. One at a time: while one is stopping no other is retired.
    pub(super) fn next_to_retire(&self) -> Option<(usize, Instant)> {
        let patience = self.rules.idle?;
        let stopping = |life: &Life| matches!(life, Life::Stopping { .. });
        if self.slots.iter().any(|slot| stopping(&slot.life)) {
            return None;
        }
        let slots = self.slots.iter().enumerate();
        let idle = slots.filter(|(_, slot)| matches!(slot.life, Life::Idle));
        idle.filter_map(|(slot, place)| Some((slot, place.idle_since?.checked_add(patience)?)))
            .min_by_key(|(slot, time)| (*time, Reverse(*slot)))
    }

    /// Stops a worker that has rested long enough.
    pub(super) fn retire(&mut self, now: Instant) {
        if let Some((slot, time)) = self.next_to_retire()
            && time <= now
        {
            self.send_home(now, slot);
        }
    }

    /// Stops every worker that has nothing to do.
    pub(super) fn quiesce(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if matches!(self.slots[slot].life, Life::Idle) {
                self.send_home(now, slot);
            }
        }
    }

    /// Kills a worker that was asked to stop, once.
    pub(super) fn kill(&mut self, now: Instant, slot: usize) {
        if let Life::Stopping { since, killed, .. } = &mut self.slots[slot].life
            && !*killed
        {
            *since = now;
            *killed = true;
            self.actions.push(Action::Kill { slot });
        }
    }

    fn send_home(&mut self, now: Instant, slot: usize) {
        self.actions.push(Action::Retire { slot });
        self.stop(now, slot, Was::Unneeded, None);
    }
}
