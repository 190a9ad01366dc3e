//! The pool's decisions, as a pure state machine: `handle(now, event) -> actions`.
//!
//! It starts nothing, reads nothing and asks no clock, so every race is a unit test. What it
//! decides:
//!
//! ```text
//! run:   looking up -> queued -> running -> (gone)        identical keys share one run
//!                        ^---------'  its worker died, first time
//! slot:  empty -> starting -> idle <-> busy               one job at a time
//!          ^         |          |        |
//!          '------ stopping <---'--------'                asked to stop; killed after a grace
//! ```
//!
//! A run is named by the number of its first ticket.
//!
//! A worker runs one job at a time, but jobs that take less time than a frame travels are sent
//! [ahead](Life::Busy), so that it need not wait for the next one. It answers them in their order:
//! when it dies, the first one without an answer is the one it died on, and the others were only in
//! the way. They go back to the queue, and it is no attempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use crate::hash::JobKey;
use crate::wire::{Failure, WireError};

mod assign;
mod endings;
mod event;
mod queue;
mod rest;

pub(crate) use event::{Action, Death, End, Event, Rules, Sought, Trouble, Wish};
use queue::{Place, Queue};

/// The machine.
#[derive(Debug)]
pub(crate) struct State {
    rules: Rules,
    runs: BTreeMap<u64, Run>,
    run_of_key: BTreeMap<JobKey, u64>,
    run_of_ticket: BTreeMap<u64, u64>,
    queue: Queue,
    /// How many runs that take their time may be with workers at once.
    width: usize,
    /// When to ask again how many that are.
    look_at_width: Option<Instant>,
    /// Runs that another pool makes, by when to look for them again.
    elsewhere: BTreeSet<(Instant, u64)>,
    slots: Vec<Slot>,
    failed_starts: u32,
    /// No worker is started before this.
    start_again: Option<Instant>,
    /// When what is not done is given up, and when what is not gone is killed.
    closing: Option<(Instant, Instant)>,
    closed: bool,
    actions: Vec<Action>,
}

#[derive(Debug)]
struct Run {
    key: JobKey,
    tickets: Vec<u64>,
    wish: Wish,
    attempts: u32,
    /// Where it waits, while it does.
    place: Option<Place>,
    /// How often it was found to be another pool's.
    looks: u32,
}

#[derive(Debug)]
struct Slot {
    generation: u64,
    life: Life,
    /// Since when it has nothing to do, while it is idle.
    idle_since: Option<Instant>,
}

#[derive(Debug)]
enum Life {
    Empty,
    Starting {
        since: Instant,
    },
    Idle,
    Busy {
        run: u64,
        since: Instant,
        give_up: Option<Instant>,
        /// Nobody wants the run any more: the worker was told, and its answer is awaited.
        cancelled: bool,
        /// It does not listen while it is at the run: asking it to stop is in vain.
        deaf: bool,
        /// Runs it has received and not begun. One that is unknown was cancelled.
        ahead: VecDeque<u64>,
    },
    Stopping {
        since: Instant,
        killed: bool,
        was: Was,
        cause: Option<WireError>,
    },
}

/// What a stopping worker was at, and who must hear of its end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Was {
    Starting,
    Busy { run: u64 },
    Unneeded,
}

impl State {
    pub(crate) fn new(rules: Rules) -> Self {
        let slots = (0..rules.slots)
            .map(|_| Slot {
                generation: 0,
                life: Life::Empty,
                idle_since: None,
            })
            .collect();
        Self {
            rules,
            runs: BTreeMap::new(),
            run_of_key: BTreeMap::new(),
            run_of_ticket: BTreeMap::new(),
            queue: Queue::default(),
            width: rules.slots,
            look_at_width: None,
            elsewhere: BTreeSet::new(),
            slots,
            failed_starts: 0,
            start_again: None,
            closing: None,
            closed: false,
            actions: Vec::new(),
        }
    }

    /// Takes one event and says what to do.
    pub(crate) fn handle(&mut self, now: Instant, event: Event) -> Vec<Action> {
        match event {
            Event::Submit { ticket, key, wish } => self.submit(ticket, key, wish),
            Event::LookedUp { run, sought } => self.looked_up(now, run, sought),
            Event::Cancel { ticket } => self.cancel(now, ticket),
            Event::Warm => self.warm(now),
            Event::Width(width) => self.width = width.max(1),
            Event::Quiesce => self.quiesce(now),
            Event::Ready { slot, generation } if self.is_current(slot, generation) => {
                self.ready(now, slot);
            }
            Event::Answer {
                slot,
                generation,
                run,
                result,
            } if self.is_current(slot, generation) => {
                self.answer(now, slot, run, result);
            }
            Event::Broken {
                slot,
                generation,
                error,
            } if self.is_current(slot, generation) => {
                self.broken(now, slot, error);
            }
            Event::Gone {
                slot,
                generation,
                death,
            } if self.is_current(slot, generation) => self.gone(now, slot, death),
            Event::NotStarted {
                slot,
                generation,
                reason,
            } if self.is_current(slot, generation) => {
                self.slots[slot].life = Life::Empty;
                self.start_failed(now, &Trouble::Start(reason));
            }
            // The worker it speaks of was replaced.
            Event::Ready { .. }
            | Event::Answer { .. }
            | Event::Broken { .. }
            | Event::Gone { .. }
            | Event::NotStarted { .. } => {}
            Event::Tick => self.tick(now),
            Event::Close { give_up, by } => {
                let earlier =
                    |(before, end): (Instant, Instant)| (before.min(give_up), end.min(by));
                self.closing = Some(self.closing.map_or((give_up, by), earlier));
            }
        }
        self.close_down(now);
        self.assign(now);
        std::mem::take(&mut self.actions)
    }

    /// How often a job is given to a worker.
    pub(crate) fn attempts(&self) -> u32 {
        self.rules.attempts
    }

    /// When [`Event::Tick`] is next needed.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let slots = self
            .slots
            .iter()
            .filter_map(|slot| self.slot_deadline(slot));
        let start = self.start_again.filter(|_| !self.queue.is_empty());
        let close = self.closing.filter(|_| !self.runs.is_empty());
        let close = close.map(|(give_up, _)| give_up);
        let look = self.elsewhere.first().map(|(time, _)| *time);
        let width = self.look_at_width;
        let rest = self.next_to_retire().map(|(_, time)| time);
        slots
            .chain(start)
            .chain(close)
            .chain(look)
            .chain(width)
            .chain(rest)
            .min()
    }

    fn slot_deadline(&self, slot: &Slot) -> Option<Instant> {
        match slot.life {
            Life::Empty | Life::Idle => None,
            Life::Starting { since } => since.checked_add(self.rules.handshake),
            Life::Busy { give_up, .. } => give_up,
            // The second wait is for the kernel, which needs no grace but may need time.
            Life::Stopping {
                since,
                killed: true,
                ..
            } => since.checked_add(self.rules.grace * 8),
            Life::Stopping { since, .. } => {
                let grace = since.checked_add(self.rules.grace);
                // A pool that is closed at once leaves its workers their grace all the same.
                let by = self.closing.map(|(_, by)| by).filter(|by| *by > since);
                grace.into_iter().chain(by).min()
            }
        }
    }

    fn is_current(&self, slot: usize, generation: u64) -> bool {
        self.slots
            .get(slot)
            .is_some_and(|slot| slot.generation == generation)
    }

    fn submit(&mut self, ticket: u64, key: JobKey, wish: Wish) {
        if self.closing.is_some() {
            self.actions.push(Action::Resolve {
                run: ticket,
                tickets: vec![ticket],
                end: End::Closed,
            });
            return;
        }
        if let Some(run) = self.run_of_key.get(&key).copied()
            && let Some(shared) = self.runs.get_mut(&run)
        {
            shared.tickets.push(ticket);
            self.run_of_ticket.insert(ticket, run);
            self.actions.push(Action::Join { ticket });
            return;
        }
        self.runs.insert(
            ticket,
            Run {
                key,
                tickets: vec![ticket],
                wish,
                attempts: 0,
                place: None,
                looks: 0,
            },
        );
        self.run_of_key.insert(key, ticket);
        self.run_of_ticket.insert(ticket, ticket);
        self.actions.push(Action::LookUp { run: ticket });
    }

    fn looked_up(&mut self, now: Instant, run: u64, sought: Sought) {
        let Some(known) = self.runs.get_mut(&run) else {
            return;
        };
        match sought {
            Sought::Found => self.resolve(run, End::Cached),
            Sought::Failed(failure) => self.resolve(run, End::Failed(failure)),
            Sought::GivenUp(evidence) => self.resolve(run, End::GivenUp(evidence)),
            Sought::Missing => known.place = Some(self.queue.push_back(known.wish.urgency, run)),
            Sought::Elsewhere => {
                let pause = self.rules.look * (1 << known.looks.min(5));
                known.looks += 1;
                self.elsewhere.insert((now + pause, run));
            }
        }
    }

    fn cancel(&mut self, now: Instant, ticket: u64) {
        let Some(run) = self.run_of_ticket.remove(&ticket) else {
            return;
        };
        let Some(shared) = self.runs.get_mut(&run) else {
            return;
        };
        shared.tickets.retain(|other| *other != ticket);
        let wanted = !shared.tickets.is_empty();
        self.actions.push(Action::Resolve {
            run,
            tickets: vec![ticket],
            end: End::Cancelled,
        });
        if wanted {
            return;
        }
        self.forget(run);
        self.actions.push(Action::Forget { run });
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let Life::Busy {
                run: busy,
                since,
                give_up,
                cancelled,
                deaf,
                ahead,
            } = &mut slot.life
            else {
                continue;
            };
            if *busy == run {
                *cancelled = true;
                *since = now;
                let grace = Some(self.rules.grace).filter(|_| !*deaf);
                *give_up = now.checked_add(grace.unwrap_or_default());
            } else if !ahead.contains(&run) {
                continue;
            }
            self.actions.push(Action::Interrupt { slot: number, run });
        }
    }

    fn warm(&mut self, now: Instant) {
        if self.closing.is_none() {
            for slot in 0..self.slots.len() {
                if matches!(self.slots[slot].life, Life::Empty) {
                    self.start(now, slot);
                }
            }
        }
    }

    fn ready(&mut self, now: Instant, slot: usize) {
        if matches!(self.slots[slot].life, Life::Starting { .. }) {
            self.rest(now, slot);
            self.failed_starts = 0;
            self.start_again = None;
        }
    }

    fn answer(&mut self, now: Instant, slot: usize, run: u64, result: Result<Bytes, Failure>) {
        match &mut self.slots[slot].life {
            Life::Busy {
                run: busy,
                since,
                cancelled,
                ..
            } if *busy == run => {
                let after = now.saturating_duration_since(*since);
                // The answer to the cancel, or the one that crossed it.
                let wanted = !*cancelled;
                self.next_ahead(now, slot);
                if wanted {
                    self.resolve(
                        run,
                        result.map_or_else(End::Failed, |bytes| End::Made { bytes, after }),
                    );
                }
            }
            Life::Stopping { .. } | Life::Empty => {}
            Life::Starting { .. } | Life::Idle | Life::Busy { .. } => {
                let expected = "an answer only to the job that was given";
                let got = crate::wire::FrameKind::Done;
                self.broken(
                    now,
                    slot,
                    WireError::Unexpected {
                        expected,
                        got,
                        job: run,
                    },
                );
            }
        }
    }

    /// The worker has answered: it is at the next run that was sent ahead, or idle.
    fn next_ahead(&mut self, now: Instant, slot: usize) {
        let life = std::mem::replace(&mut self.slots[slot].life, Life::Idle);
        let Life::Busy { mut ahead, .. } = life else {
            return;
        };
        self.rest(now, slot);
        if let Some(next) = ahead.pop_front() {
            self.slots[slot].life = self.busy(now, next, ahead);
        }
    }

    fn tick(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            let deadline = self.slot_deadline(&self.slots[slot]);
            let Some(late) = deadline.and_then(|deadline| now.checked_duration_since(deadline))
            else {
                continue;
            };
            if late >= self.rules.late && self.look_again(now, slot) {
                continue;
            }
            match &mut self.slots[slot].life {
                Life::Empty | Life::Idle => {}
                Life::Starting { .. } => {
                    let cause = WireError::Silence {
                        expected: "a hello in time",
                    };
                    self.stop(now, slot, Was::Starting, Some(cause));
                }
                Life::Busy { run, cancelled, .. } => {
                    let run = Some(*run).filter(|_| !*cancelled);
                    self.stop(now, slot, Was::Unneeded, None);
                    self.overran(now, slot, run);
                }
                Life::Stopping { killed: false, .. } => self.kill(now, slot),
                Life::Stopping { .. } => {
                    self.actions.push(Action::Abandon { slot });
                    self.gone(now, slot, Death::default());
                }
            }
        }
        self.retire(now);
        if self.start_again.is_some_and(|time| now >= time) {
            self.start_again = None;
        }
        while let Some((_, run)) = self.elsewhere.first().filter(|(time, _)| *time <= now) {
            let run = *run;
            self.elsewhere.pop_first();
            if self.runs.contains_key(&run) {
                self.actions.push(Action::LookUp { run });
            }
        }
    }

    fn start(&mut self, now: Instant, slot: usize) {
        let place = &mut self.slots[slot];
        place.generation += 1;
        place.life = Life::Starting { since: now };
        self.actions.push(Action::Start {
            slot,
            generation: place.generation,
        });
    }

    /// After [`Event::Close`]: gives up what is late, and ends the workers that have nothing to do.
    fn close_down(&mut self, now: Instant) {
        let Some((give_up, _)) = self.closing else {
            return;
        };
        if now >= give_up {
            for run in self.runs.keys().copied().collect::<Vec<_>>() {
                self.resolve(run, End::Closed);
            }
        }
        if !self.runs.is_empty() {
            return;
        }
        for slot in 0..self.slots.len() {
            if !matches!(self.slots[slot].life, Life::Empty | Life::Stopping { .. }) {
                self.stop(now, slot, Was::Unneeded, None);
            }
        }
        if !self.closed
            && self
                .slots
                .iter()
                .all(|slot| matches!(slot.life, Life::Empty))
        {
            self.closed = true;
            self.actions.push(Action::Closed);
        }
    }

    fn resolve(&mut self, run: u64, end: End) {
        let tickets = self.forget(run);
        if !tickets.is_empty() {
            self.actions.push(Action::Resolve { run, tickets, end });
        }
    }

    /// Takes the run out of every table.
    fn forget(&mut self, run: u64) -> Vec<u64> {
        let Some(gone) = self.runs.remove(&run) else {
            return Vec::new();
        };
        self.run_of_key.remove(&gone.key);
        if let Some(place) = gone.place {
            self.queue.remove(place);
        }
        for ticket in &gone.tickets {
            self.run_of_ticket.remove(ticket);
        }
        gone.tickets
    }
}

#[cfg(test)]
mod tests;
