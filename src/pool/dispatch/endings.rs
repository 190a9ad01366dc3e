//! How a worker ends, and what becomes of the runs that it had.

use std::time::Instant;

use super::{Action, Death, End, Life, Rules, State, Trouble, Was};
use crate::wire::WireError;

impl State {
    pub(super) fn broken(&mut self, now: Instant, slot: usize, error: WireError) {
        let was = match self.slots[slot].life {
            Life::Empty | Life::Stopping { .. } => return,
            Life::Starting { .. } => Was::Starting,
            Life::Busy { run, cancelled, .. } if !cancelled => Was::Busy { run },
            Life::Idle | Life::Busy { .. } => Was::Unneeded,
        };
        // A closed socket is what every death looks like; how it died says more.
        let cause = (error != WireError::Closed).then_some(error);
        self.stop(now, slot, was, cause);
    }

    pub(super) fn gone(&mut self, now: Instant, slot: usize, mut death: Death) {
        self.take_back(slot);
        let life = std::mem::replace(&mut self.slots[slot].life, Life::Empty);
        let was = match life {
            Life::Starting { .. } => Was::Starting,
            Life::Busy { run, cancelled, .. } if !cancelled => Was::Busy { run },
            Life::Empty | Life::Idle | Life::Busy { .. } => Was::Unneeded,
            Life::Stopping { was, cause, .. } => {
                death.cause = cause;
                was
            }
        };
        match was {
            Was::Unneeded => {}
            Was::Starting => self.start_failed(now, &not_started(death)),
            Was::Busy { run } => self.died_on(run, death),
        }
    }

    /// What was sent ahead and not begun waits again, before all others: it was only in the way.
    fn take_back(&mut self, slot: usize) {
        let Life::Busy { ahead, .. } = &mut self.slots[slot].life else {
            return;
        };
        for run in std::mem::take(ahead).into_iter().rev() {
            if let Some(waiting) = self.runs.get_mut(&run) {
                waiting.attempts -= 1;
                waiting.place = Some(self.queue.push_front(waiting.wish.urgency, run));
            }
        }
    }

    /// The job costs an attempt, and after the last one it fails; at once if it had its time.
    fn died_on(&mut self, run: u64, death: Death) {
        let Some(shared) = self.runs.get_mut(&run) else {
            return;
        };
        if shared.attempts < self.rules.attempts && !death.is_out_of_time() {
            let tickets = shared.tickets.clone();
            shared.place = Some(self.queue.push_front(shared.wish.urgency, run));
            self.actions.push(Action::Retry { tickets, death });
        } else {
            self.resolve(run, End::Died(death));
        }
    }

    /// Sets a deadline anew that passed unseen. Not that of a run which only we can end.
    pub(super) fn look_again(&mut self, now: Instant, slot: usize) -> bool {
        let Rules { overrun, grace, .. } = self.rules;
        match &mut self.slots[slot].life {
            Life::Busy { deaf: true, .. } | Life::Empty | Life::Idle => return false,
            Life::Busy {
                give_up, cancelled, ..
            } => {
                *give_up = now.checked_add(if *cancelled { grace } else { overrun });
            }
            Life::Starting { since } | Life::Stopping { since, .. } => *since = now,
        }
        true
    }

    /// A worker that should have ended its run itself, and did not: it is stuck, or stopped by a signal. There is no use in asking it to
    /// end. That it is stuck is more likely its own doing than the run's, which has another attempt; unless it is deaf to its limit by the
    /// nature of the run.
    pub(super) fn overran(&mut self, now: Instant, slot: usize, run: Option<u64>) {
        let Some((run, known)) = run.and_then(|run| Some((run, self.runs.get(&run)?))) else {
            return;
        };
        if known.attempts < self.rules.attempts && !known.wish.deaf {
            let expected = "an answer at its job's limit";
            let cause = Some(WireError::Silence { expected });
            let death = Death {
                cause,
                ..Death::default()
            };
            self.died_on(run, death);
        } else {
            let limit = known.wish.wall;
            self.resolve(run, End::Overran { limit });
        }
        self.kill(now, slot);
    }

    pub(super) fn start_failed(&mut self, now: Instant, trouble: &Trouble) {
        self.failed_starts += 1;
        let doublings = self.failed_starts.saturating_sub(1).min(6);
        self.start_again = now.checked_add(self.rules.pause * (1 << doublings));
        let alive = self.slots.iter().any(|slot| {
            matches!(
                slot.life,
                Life::Starting { .. } | Life::Idle | Life::Busy { .. }
            )
        });
        if alive || self.failed_starts < self.rules.spawns {
            return;
        }
        // The next submit tries afresh.
        self.failed_starts = 0;
        self.start_again = None;
        while let Some(run) = self.queue.pop() {
            self.resolve(run, End::NoWorker(trouble.clone()));
        }
    }

    pub(super) fn stop(&mut self, now: Instant, slot: usize, was: Was, cause: Option<WireError>) {
        self.take_back(slot);
        let deaf = matches!(self.slots[slot].life, Life::Busy { deaf: true, .. });
        self.slots[slot].life = Life::Stopping {
            since: now,
            killed: false,
            was,
            cause,
        };
        self.actions.push(Action::Stop { slot });
        if deaf {
            self.kill(now, slot);
        }
    }
}

fn not_started(death: Death) -> Trouble {
    if let Some(cause) = death.cause {
        return Trouble::Protocol(cause);
    }
    let how = crate::error::ended(death.signal, death.code);
    Trouble::Start(match death.stderr.trim() {
        "" => format!("the worker {how} before it said hello"),
        stderr => format!("the worker {how} before it said hello; it wrote:\n{stderr}"),
    })
}
