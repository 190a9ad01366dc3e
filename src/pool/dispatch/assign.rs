//! Who gets which run.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Action, Life, Slot, State};
use crate::width::MEASURED_EVERY;

/// A worker is fed again when it has a quarter of what may be sent ahead to it.
const HUNGRY: usize = 4;

impl State {
    /// Gives waiting runs to idle workers, brief ones also to workers at brief ones, and starts
    /// workers for the rest.
    pub(super) fn assign(&mut self, now: Instant) {
        self.look_at_width = self.look_at_width.filter(|time| *time > now);
        while let Some(run) = self.queue.first() {
            if self.takes_its_time(run) && self.compilers().0 >= self.width {
                self.look_at_width.get_or_insert(now + MEASURED_EVERY);
                break;
            }
            let idle = |slot: &Slot| matches!(slot.life, Life::Idle);
            let Some(slot) = self.slots.iter().position(idle) else {
                break;
            };
            self.slots[slot].life = self.busy(now, run, VecDeque::new());
            self.give(slot);
        }
        self.send_ahead();
        if self.start_again.is_some_and(|time| now < time) {
            return;
        }
        let starting = self
            .slots
            .iter()
            .filter(|slot| matches!(slot.life, Life::Starting { .. }))
            .count();
        let held_back = self
            .queue
            .first()
            .is_some_and(|first| self.takes_its_time(first));
        let room = self.width.saturating_sub(self.compilers().0);
        let wanted = if held_back {
            self.queue.len().min(room)
        } else {
            self.queue.len()
        };
        for _ in starting..wanted {
            let Some(slot) = self
                .slots
                .iter()
                .position(|slot| matches!(slot.life, Life::Empty))
            else {
                return;
            };
            self.start(now, slot);
        }
    }

    /// Runs that take their time: how many are with workers, and how many wait.
    pub(crate) fn compilers(&self) -> (usize, usize) {
        let is_one =
            |slot: &&Slot| matches!(slot.life, Life::Busy { run, .. } if self.takes_its_time(run));
        let running = self.slots.iter().filter(is_one).count();
        let waits = self
            .queue
            .first()
            .is_some_and(|run| self.takes_its_time(run));
        (running, if waits { self.queue.len() } else { 0 })
    }

    /// One that was cancelled does so until its worker answers.
    fn takes_its_time(&self, run: u64) -> bool {
        self.runs.get(&run).is_none_or(|run| run.wish.ahead == 0)
    }

    /// Fills up the workers that are about to have nothing to do.
    fn send_ahead(&mut self) {
        // How many of them a worker may have, if the first one that waits may be sent ahead at all.
        let most = |state: &Self| {
            let first = state.queue.first()?;
            Some(state.runs.get(&first)?.wish.ahead).filter(|most| *most > 0)
        };
        let Some(limit) = most(self) else {
            return;
        };
        let mut hungry: Vec<usize> = (0..self.slots.len())
            .filter(|slot| match &self.slots[*slot].life {
                Life::Busy {
                    run,
                    cancelled: false,
                    ahead,
                    ..
                } if ahead.len() <= limit / HUNGRY => {
                    self.runs.get(run).is_some_and(|run| run.wish.ahead > 0)
                }
                _ => false,
            })
            .collect();
        let had = |slot: &usize| match &self.slots[*slot].life {
            Life::Busy { ahead, .. } => ahead.len(),
            _ => 0,
        };
        hungry.sort_by_key(had);
        // One each in turn, so that few jobs do not all go to one worker.
        while !hungry.is_empty() {
            let mut fed = Vec::new();
            for slot in hungry {
                let (Some(most), Some(run)) = (most(self), self.queue.first()) else {
                    return;
                };
                if let Life::Busy { ahead, .. } = &mut self.slots[slot].life
                    && ahead.len() < most
                {
                    ahead.push_back(run);
                    fed.push(slot);
                } else {
                    continue;
                }
                self.give(slot);
            }
            hungry = fed;
        }
    }

    /// Hands the first run of the queue to a worker.
    fn give(&mut self, slot: usize) {
        let Some(run) = self.queue.pop() else {
            return;
        };
        if let Some(shared) = self.runs.get_mut(&run) {
            shared.attempts += 1;
            shared.place = None;
            let tickets = shared.tickets.clone();
            self.actions.push(Action::Give { slot, run, tickets });
        }
    }

    pub(super) fn busy(&self, now: Instant, run: u64, ahead: VecDeque<u64>) -> Life {
        let known = self.runs.get(&run);
        let patience = known.map_or(Some(self.rules.grace), |known| {
            let overrun = Some(self.rules.overrun).filter(|_| !known.wish.deaf);
            known.wish.wall.checked_add(overrun.unwrap_or_default())
        });
        Life::Busy {
            run,
            since: now,
            give_up: patience.and_then(|patience| now.checked_add(patience)),
            cancelled: known.is_none(),
            deaf: known.is_some_and(|known| known.wish.deaf),
            ahead,
        }
    }
}
