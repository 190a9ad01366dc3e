//! Runs that wait for a worker.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Waiting runs: the most urgent first, and among equals the one that came first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Place, u64>,
    /// The turn of the next run at the end; those put in front count down from -1.
    last: i64,
    first: i64,
}

/// A run's place in the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    urgency: Reverse<u32>,
    turn: i64,
}

impl Queue {
    /// Behind every run of its urgency.
    pub(super) fn push_back(&mut self, urgency: u32, run: u64) -> Place {
        let turn = self.last;
        self.last += 1;
        self.push(urgency, turn, run)
    }

    /// Before every run of its urgency.
    pub(super) fn push_front(&mut self, urgency: u32, run: u64) -> Place {
        self.first -= 1;
        self.push(urgency, self.first, run)
    }

    /// The run whose turn it is.
    pub(super) fn first(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(_, run)| *run)
    }

    /// Takes out the run whose turn it is.
    pub(super) fn pop(&mut self) -> Option<u64> {
        self.waiting.pop_first().map(|(_, run)| run)
    }

    /// Takes out the run at `place`.
    pub(super) fn remove(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn push(&mut self, urgency: u32, turn: i64, run: u64) -> Place {
        let urgency = Reverse(urgency);
        let place = Place { urgency, turn };
        self.waiting.insert(place, run);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgency_comes_before_turn_and_turn_before_nothing() {
        let mut queue = Queue::default();
        queue.push_back(0, 1);
        let gone = queue.push_back(0, 2);
        queue.push_back(7, 3);
        queue.push_front(0, 4);
        queue.push_front(0, 5);
        queue.remove(gone);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [3, 5, 4, 1]);
    }
}
