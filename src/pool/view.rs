//! The worker's end of the [arena](crate::arena): payloads where the pool has put them.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::arena::LARGE;
use crate::os::{Pane, Window};
use crate::wire::{Region, WireError};

/// The arena as a worker sees it.
#[derive(Debug)]
pub(crate) struct View {
    file: OwnedFd,
    /// Its mapping, from the first payload on.
    window: Option<Window>,
    /// What is this worker's, until the pool is told that it is not.
    lent: Vec<(u64, Region)>,
    /// The jobs whose payloads nobody looks at any more.
    unused: Unused,
}

type Unused = Arc<Mutex<Vec<u64>>>;

/// The payload of a job. When its last copy is gone, the region is the pool's again.
struct Payload {
    job: u64,
    pane: Pane,
    unused: Unused,
}

impl View {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self {
            file,
            window: None,
            lent: Vec::new(),
            unused: Unused::default(),
        }
    }

    /// The payload of a job, where it lies.
    pub(crate) fn payload(&mut self, job: u64, region: Region) -> Result<Bytes, WireError> {
        let wrong = |reason: String| WireError::Region {
            job,
            region,
            reason,
        };
        let overlaps = |(other, theirs): &&(u64, Region)| {
            *other == job || (region.offset < theirs.end() && theirs.offset < region.end())
        };
        if let Some((other, _)) = self.lent.iter().find(overlaps) {
            return Err(wrong(format!("the payload of job {other} is there")));
        }
        let window = match self.window.take() {
            Some(window) => window,
            None => Window::onto(&self.file)
                .map_err(|error| wrong(format!("the arena cannot be mapped: {error}")))?,
        };
        let window = self.window.insert(window);
        let pane = window.pane(region.offset as usize, region.length as usize);
        let pane = pane.ok_or_else(|| {
            let length = window.length();
            wrong(format!("the arena is {length} bytes long"))
        })?;
        self.lent.push((job, region));
        Ok(Bytes::from_owner(Payload {
            job,
            pane,
            unused: Arc::clone(&self.unused),
        }))
    }

    /// Puts what a job made where its payload was, and says where it lies: if it is large and fits, and nobody looks at the payload any more.
    /// What is a part of the payload is there already.
    pub(crate) fn put(&mut self, job: u64, result: &[u8]) -> Option<Region> {
        let (_, lent) = *self.lent.iter().find(|(other, _)| *other == job)?;
        let window = self.window.as_mut()?;
        let at = |start: usize| Region {
            offset: start as u32,
            length: result.len() as u32,
        };
        if result.len() < LARGE || result.len() > lent.length as usize {
            return None;
        }
        if let Some(start) = window.place_of(result) {
            return Some(at(start)).filter(|region| lent.contains(*region));
        }
        if !lock(&self.unused).contains(&job) {
            return None;
        }
        let start = lent.offset as usize;
        window.write(start, result)?;
        Some(at(start))
    }

    /// The jobs whose payloads can be returned; each is named once.
    pub(crate) fn unused(&mut self) -> Vec<u64> {
        let unused = std::mem::take(&mut *lock(&self.unused));
        self.lent.retain(|(job, _)| !unused.contains(job));
        unused
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self.pane.as_ref()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        lock(&self.unused).push(self.job);
    }
}

fn lock(unused: &Unused) -> MutexGuard<'_, Vec<u64>> {
    // Numbers in a list are whole at any time.
    unused.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;

    fn pair() -> (Arena, View) {
        let arena = Arena::new().expect("an arena");
        let view = View::new(arena.share().expect("a descriptor"));
        (arena, view)
    }

    #[test]
    fn payloads_are_read_where_they_lie_and_returned_when_nobody_looks() {
        let (mut arena, mut view) = pair();
        for round in 0..3_u8 {
            let bytes: Vec<u8> = (0..200_000).map(|at| at as u8 ^ round).collect();
            let region = arena.lend(7, &bytes).expect("there is room");
            let payload = view.payload(7, region).expect("it is there");
            assert!(payload == bytes);
            let kept = payload.slice(100_000..);
            drop(payload);
            assert!(view.unused().is_empty());
            assert_eq!(kept[0], bytes[100_000]);
            drop(kept);
            assert_eq!(view.unused(), [7]);
            assert!(view.unused().is_empty());
            arena.take_back(7).expect("it was lent");
        }
    }

    #[test]
    fn payloads_outlive_the_view_and_read_as_nothing_when_pages_were_given_back() {
        let (mut arena, mut view) = pair();
        let region = arena.lend(1, &vec![5; 100_000]).expect("there is room");
        let payload = view.payload(1, region).expect("it is there");
        drop(view);
        assert_eq!(payload[99_999], 5);
        drop(payload);
        let (mut arena, mut view) = pair();
        let region = arena.lend(1, &vec![5; 100_000]).expect("there is room");
        arena.take_back(1).expect("it was lent");
        arena.give_back_pages();
        let payload = view.payload(1, region).expect("it is there");
        assert_eq!(payload[99_999], 0);
    }

    #[test]
    fn results_lie_where_payloads_lay() {
        let (mut arena, mut view) = pair();
        let bytes: Vec<u8> = (0..300_000).map(|at| at as u8).collect();
        let mut lend = |job| arena.lend(job, &bytes).expect("there is room");
        let (first, second) = (lend(1), lend(2));
        let payload = view.payload(1, first).expect("it is there");
        let other = view.payload(2, second).expect("it is there");
        let result = vec![7; 200_000];
        // Not while somebody looks, not where it does not fit, and not what is small.
        assert_eq!(view.put(1, &result), None);
        assert_eq!(view.put(1, &other), None);
        // A part of the payload.
        let part = view
            .put(1, &payload[50_000..250_000])
            .expect("it lies there");
        assert_eq!(part.offset, first.offset + 50_000);
        assert_eq!(
            arena.result(1, part).expect("a result"),
            bytes[50_000..250_000]
        );
        assert_eq!(arena.result(2, part), None);
        drop(payload);
        assert_eq!(view.put(1, &vec![7; 300_001]), None);
        assert_eq!(view.put(1, &result[..LARGE - 1]), None);
        let place = view.put(1, &result).expect("there is room");
        assert_eq!((place.offset, place.length), (first.offset, 200_000));
        assert_eq!(arena.result(1, place).expect("a result"), result);
        assert_eq!(view.unused(), [1]);
        assert_eq!(view.put(1, &result), None);
        arena.take_back(1).expect("it was lent");
        assert_eq!(arena.result(1, place), None);
        assert!(other == bytes);
    }

    #[test]
    fn what_lies_elsewhere_or_on_something_else_is_refused() {
        let (_arena, mut view) = pair();
        let mut payload = |job, offset, length| {
            let payload = view.payload(job, Region { offset, length });
            payload.map_err(|error| error.got())
        };
        let first = payload(1, 4096, 4096).expect("it is inside");
        let second = payload(2, 8192, (8 << 20) - 8192).expect("it is inside");
        for (job, offset, length, got) in [
            (3, 0, 4097, "job 1 is there"),
            (3, 8191, 1, "job 1 is there"),
            (3, 4096, 4096, "job 1 is there"),
            (3, 4000, 8 << 20, "job 1 is there"),
            (3, 8193, 1, "job 2 is there"),
            (1, 0, 1, "job 1 is there"),
            (3, 8 << 20, 1, "the arena is 8388608 bytes long"),
            (3, u32::MAX, u32::MAX, "the arena is 8388608 bytes long"),
        ] {
            let error = payload(job, offset, length).expect_err(got);
            assert!(error.ends_with(got), "{error}");
            assert!(
                error.contains(&format!("{length} bytes at {offset} for job {job}")),
                "{error}"
            );
        }
        drop((first, second));
        assert_eq!(view.unused(), [1, 2]);
        let all = Region {
            offset: 0,
            length: 8 << 20,
        };
        assert!(view.payload(3, all).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_region_reaches_outside(regions: Vec<(u32, u32)>) {
            let (_arena, mut view) = pair();
            for (job, (offset, length)) in regions.into_iter().enumerate() {
                for (offset, length) in [(offset, length), (offset % (9 << 20), length % (1 << 20))] {
                    if let Ok(payload) = view.payload(job as u64, Region { offset, length }) {
                        proptest::prop_assert_eq!(payload.len(), length as usize);
                        proptest::prop_assert!(payload.iter().all(|byte| *byte == 0));
                    }
                    view.unused();
                }
            }
        }
    }
}
