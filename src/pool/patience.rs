//! How long one side looks for what the other side is about to do, before it sleeps.
//!
//! A thread that sleeps takes about 50 µs to be woken on a virtual machine, which is ten times what a
//! small job takes. So who has reason to expect something at once looks for it first: a worker that
//! has just answered, and a thread that has just begun to wait for a ticket. The laws:
//!
//! - It ends. After [`SPAN`] without anything, whoever looks goes to sleep, so an idle pool uses no
//!   processor, and nobody waits longer by more than what waking it takes.
//! - It gives way. Each look is followed by a yield: what else can run there runs first.
//! - It is only for those that may run on more than one processor. On a single one, what is looked
//!   for cannot happen meanwhile.

use std::time::{Duration, Instant};

use rustix::thread::sched_getaffinity;

/// Twice what waking takes: whoever looks in vain loses no more than it would have lost by sleeping
/// too early twice.
const SPAN: Duration = Duration::from_micros(100);

/// The time for which something is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    span: Duration,
}

/// One time of looking.
#[derive(Debug)]
pub(crate) struct Look {
    until: Instant,
    span: Duration,
}

impl Patience {
    /// What this process can afford.
    pub(crate) fn of_this_process() -> Self {
        let several = sched_getaffinity(None).is_ok_and(|processors| processors.count() > 1);
        let span = if several { SPAN } else { Duration::ZERO };
        Self { span }
    }

    /// Begins to look, if there is any use in it.
    pub(crate) fn begin(self) -> Option<Look> {
        let span = Some(self.span).filter(|span| !span.is_zero())?;
        let until = Instant::now() + span;
        Some(Look { until, span })
    }
}

impl Look {
    /// Something came: what follows it is waited for anew.
    pub(crate) fn renew(&mut self) {
        self.until = Instant::now() + self.span;
    }

    /// Nothing came: lets others run. False when it is time to sleep.
    pub(crate) fn goes_on(&self) -> bool {
        std::thread::yield_now();
        Instant::now() < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_and_lasts_longer_where_something_comes() {
        let patience = Patience { span: SPAN };
        let start = Instant::now();
        let mut look = patience.begin().expect("it looks");
        let first = look.until;
        std::thread::sleep(Duration::from_micros(1));
        look.renew();
        assert!(look.until > first);
        while look.goes_on() {}
        assert!(start.elapsed() >= SPAN);
    }

    #[test]
    fn on_one_processor_nobody_looks() {
        let span = Duration::ZERO;
        assert!(Patience { span }.begin().is_none());
    }
}
