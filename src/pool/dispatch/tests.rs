//! The machine's races, without a process and without a clock.

use std::time::Duration;

use super::*;

mod order;
mod rest;

const RULES: Rules = Rules {
    slots: 2,
    handshake: Duration::from_secs(10),
    grace: Duration::from_secs(1),
    idle: None,
    overrun: Duration::from_secs(2),
    late: Duration::from_secs(1),
    attempts: 2,
    spawns: 3,
    pause: Duration::from_millis(100),
    look: Duration::from_millis(2),
};
const WALL: Duration = Duration::from_secs(60);
const WISH: Wish = Wish {
    wall: WALL,
    urgency: 0,
    ahead: 0,
    deaf: false,
};

/// The machine with a clock that the test moves.
struct Bench {
    state: State,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self::with(RULES)
    }

    fn with(rules: Rules) -> Self {
        let start = Instant::now();
        Self {
            state: State::new(rules),
            start,
            now: start,
        }
    }

    /// With all workers idle.
    fn warmed() -> Self {
        let mut bench = Self::new();
        bench.event(Event::Warm);
        bench.ready(0, 1);
        bench.ready(1, 1);
        bench
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        let actions = self.state.handle(self.now, event);
        let at_work = self
            .state
            .slots
            .iter()
            .filter(|slot| !matches!(slot.life, Life::Empty))
            .count();
        assert!(at_work <= self.state.rules.slots);
        actions
    }

    fn after(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.event(Event::Tick)
    }

    /// Submits a job that is not in the cache.
    fn submit(&mut self, ticket: u64, key: u8) -> Vec<Action> {
        self.wish(ticket, key, WISH)
    }

    /// Submits a job that a worker may be sent before it needs it.
    fn submit_brief(&mut self, ticket: u64) -> Vec<Action> {
        let wish = Wish { ahead: 64, ..WISH };
        self.wish(ticket, ticket as u8, wish)
    }

    fn wish(&mut self, ticket: u64, key: u8, wish: Wish) -> Vec<Action> {
        let key = JobKey::from_bytes([key; 32]);
        let first = self.event(Event::Submit { ticket, key, wish });
        if first == [Action::LookUp { run: ticket }] {
            self.event(Event::LookedUp {
                run: ticket,
                sought: Sought::Missing,
            })
        } else {
            first
        }
    }

    fn ready(&mut self, slot: usize, generation: u64) -> Vec<Action> {
        self.event(Event::Ready { slot, generation })
    }

    fn done(&mut self, slot: usize, generation: u64, run: u64) -> Vec<Action> {
        self.event(Event::Answer {
            slot,
            generation,
            run,
            result: Ok(vec![7].into()),
        })
    }

    fn gone(&mut self, slot: usize, generation: u64) -> Vec<Action> {
        self.event(Event::Gone {
            slot,
            generation,
            death: killed(),
        })
    }

    fn deadline(&self) -> Option<Duration> {
        self.state.next_deadline().map(|time| time - self.start)
    }
}

fn killed() -> Death {
    Death {
        signal: Some(9),
        ..Death::default()
    }
}

fn give(slot: usize, run: u64) -> Action {
    Action::Give {
        slot,
        run,
        tickets: vec![run],
    }
}

fn resolve(run: u64, end: End) -> Action {
    Action::Resolve {
        run,
        tickets: vec![run],
        end,
    }
}

fn made() -> End {
    End::Made {
        bytes: vec![7].into(),
        after: Duration::ZERO,
    }
}

#[test]
fn a_worker_is_started_for_the_first_job_and_no_other() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.submit(1, 1),
        [Action::Start {
            slot: 0,
            generation: 1
        }]
    );
    assert_eq!(bench.ready(0, 1), [give(0, 1)]);
    assert_eq!(bench.done(0, 1, 1), [resolve(1, made())]);
    assert_eq!(bench.submit(2, 2), [give(0, 2)]);
    assert_eq!(
        bench.submit(3, 3),
        [Action::Start {
            slot: 1,
            generation: 1
        }]
    );
    assert_eq!(bench.submit(4, 4), []);
    assert_eq!(bench.done(0, 1, 2), [resolve(2, made()), give(0, 3)]);
}

#[test]
fn what_the_cache_has_starts_no_worker() {
    let mut bench = Bench::new();
    let key = JobKey::from_bytes([1; 32]);
    bench.event(Event::Submit {
        ticket: 1,
        key,
        wish: WISH,
    });
    assert_eq!(
        bench.event(Event::LookedUp {
            run: 1,
            sought: Sought::Found
        }),
        [resolve(1, End::Cached)]
    );
    assert_eq!(bench.deadline(), None);
}

#[test]
fn identical_jobs_share_one_run_until_it_ends() {
    let mut bench = Bench::warmed();
    bench.submit(1, 9);
    assert_eq!(bench.submit(2, 9), [Action::Join { ticket: 2 }]);
    let both = Action::Resolve {
        run: 1,
        tickets: vec![1, 2],
        end: made(),
    };
    assert_eq!(bench.done(0, 1, 1), [both]);
    assert_eq!(bench.submit(3, 9), [give(0, 3)]);
}

#[test]
fn a_dead_worker_costs_its_own_job_one_attempt_and_the_sibling_nothing() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.submit(2, 2);
    bench.submit(3, 3);
    let actions = bench.gone(0, 1);
    let retry = Action::Retry {
        tickets: vec![1],
        death: killed(),
    };
    assert_eq!(
        actions,
        [
            retry,
            Action::Start {
                slot: 0,
                generation: 2
            }
        ]
    );
    // The fresh worker gets the job that lost its attempt before the one that waits longer.
    assert_eq!(bench.ready(0, 2), [give(0, 1)]);
    assert_eq!(bench.done(1, 1, 2), [resolve(2, made()), give(1, 3)]);
    assert_eq!(bench.gone(0, 2), [resolve(1, End::Died(killed()))]);
    assert_eq!(bench.done(1, 1, 3), [resolve(3, made())]);
}

#[test]
fn news_of_a_replaced_worker_is_ignored() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.gone(0, 1);
    assert_eq!(
        bench.done(0, 1, 1),
        [give(1, 1)].into_iter().skip(1).collect::<Vec<_>>()
    );
    assert_eq!(bench.gone(0, 1), []);
    assert_eq!(bench.done(1, 1, 1), [resolve(1, made())]);
}

#[test]
fn a_job_of_a_dead_worker_goes_to_an_idle_one() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    let retry = Action::Retry {
        tickets: vec![1],
        death: killed(),
    };
    assert_eq!(bench.gone(0, 1), [retry, give(1, 1)]);
}

#[test]
fn an_idle_worker_that_dies_is_replaced_when_it_is_needed() {
    let mut bench = Bench::warmed();
    assert_eq!(bench.gone(0, 1), []);
    assert_eq!(bench.submit(1, 1), [give(1, 1)]);
    assert_eq!(
        bench.submit(2, 2),
        [Action::Start {
            slot: 0,
            generation: 2
        }]
    );
}

#[test]
fn cancelling_one_of_two_tickets_leaves_the_job_running() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.submit(2, 1);
    assert_eq!(
        bench.event(Event::Cancel { ticket: 1 }),
        [resolve(1, End::Cancelled)]
    );
    assert_eq!(bench.event(Event::Cancel { ticket: 1 }), []);
    let second = Action::Resolve {
        run: 1,
        tickets: vec![2],
        end: made(),
    };
    assert_eq!(bench.done(0, 1, 1), [second]);
}

#[test]
fn cancelling_the_last_ticket_interrupts_the_worker_and_keeps_it() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    let interrupt = Action::Interrupt { slot: 0, run: 1 };
    assert_eq!(
        bench.event(Event::Cancel { ticket: 1 }),
        [
            resolve(1, End::Cancelled),
            Action::Forget { run: 1 },
            interrupt
        ]
    );
    // The same key again is a new run: the old one is being stopped.
    assert_eq!(bench.submit(2, 1), [give(1, 2)]);
    let answer = Event::Answer {
        slot: 0,
        generation: 1,
        run: 1,
        result: Err(Failure::Cancelled),
    };
    assert_eq!(bench.event(answer), []);
    assert_eq!(bench.submit(3, 3), [give(0, 3)]);
}

#[test]
fn a_result_that_crosses_the_cancel_is_dropped() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.event(Event::Cancel { ticket: 1 });
    assert_eq!(bench.done(0, 1, 1), []);
    assert_eq!(bench.submit(2, 2), [give(0, 2)]);
}

#[test]
fn a_queued_job_is_cancelled_without_a_worker_hearing_of_it() {
    let mut bench = Bench::new();
    bench.submit(1, 1);
    assert_eq!(
        bench.event(Event::Cancel { ticket: 1 }),
        [resolve(1, End::Cancelled), Action::Forget { run: 1 }]
    );
    assert_eq!(bench.ready(0, 1), []);
}

#[test]
fn a_worker_that_ignores_a_cancel_is_stopped_and_then_killed() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.event(Event::Cancel { ticket: 1 });
    assert_eq!(bench.after(RULES.grace), [Action::Stop { slot: 0 }]);
    assert_eq!(bench.after(RULES.grace / 2), []);
    assert_eq!(bench.after(RULES.grace / 2), [Action::Kill { slot: 0 }]);
    assert_eq!(bench.gone(0, 1), []);
}

#[test]
fn a_worker_that_does_not_die_is_abandoned() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.event(Event::Cancel { ticket: 1 });
    bench.after(RULES.grace);
    bench.after(RULES.grace);
    assert_eq!(bench.after(RULES.grace * 8), [Action::Abandon { slot: 0 }]);
    assert_eq!(bench.submit(2, 2), [give(1, 2)]);
    assert_eq!(
        bench.submit(3, 3),
        [Action::Start {
            slot: 0,
            generation: 2
        }]
    );
}

#[test]
fn a_worker_that_overruns_the_limit_is_killed_and_its_job_has_one_more_attempt() {
    let mut bench = Bench::with(Rules { slots: 1, ..RULES });
    bench.submit(1, 1);
    assert_eq!(bench.ready(0, 1), [give(0, 1)]);
    assert_eq!(bench.deadline(), Some(WALL + RULES.overrun));
    let kill = Action::Kill { slot: 0 };
    let actions = bench.after(WALL + RULES.overrun);
    let [stop, Action::Retry { tickets, death }, last] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((&tickets[..], last), (&[1][..], &kill));
    assert_eq!(*stop, Action::Stop { slot: 0 });
    let text = "expected an answer at its job's limit, got nothing";
    assert_eq!(
        death.cause.as_ref().map(ToString::to_string),
        Some(text.into())
    );
    assert!(matches!(bench.gone(0, 1)[..], [Action::Start { .. }]));
    assert_eq!(bench.ready(0, 2), [give(0, 1)]);
    let overran = resolve(1, End::Overran { limit: WALL });
    assert_eq!(
        bench.after(WALL + RULES.overrun),
        [Action::Stop { slot: 0 }, overran, kill]
    );
    assert_eq!(bench.gone(0, 2), []);
}

#[test]
fn garbage_from_a_worker_costs_an_attempt_and_is_named_after_the_last() {
    let mut bench = Bench::with(Rules { slots: 1, ..RULES });
    let garbage = WireError::Magic { got: "hi".into() };
    bench.submit(1, 1);
    for generation in 1..=2 {
        assert_eq!(bench.ready(0, generation), [give(0, 1)]);
        let broken = Event::Broken {
            slot: 0,
            generation,
            error: garbage.clone(),
        };
        assert_eq!(bench.event(broken), [Action::Stop { slot: 0 }]);
        let death = Death {
            cause: Some(garbage.clone()),
            ..killed()
        };
        let last = match generation {
            1 => vec![
                Action::Retry {
                    tickets: vec![1],
                    death,
                },
                Action::Start {
                    slot: 0,
                    generation: 2,
                },
            ],
            _ => vec![resolve(1, End::Died(death))],
        };
        assert_eq!(bench.gone(0, generation), last);
    }
}

#[test]
fn an_answer_to_a_job_that_was_not_given_is_a_violation() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    assert_eq!(bench.done(0, 1, 44), [Action::Stop { slot: 0 }]);
    assert_eq!(bench.done(1, 1, 1), [Action::Stop { slot: 1 }]);
}

#[test]
fn starts_are_retried_with_pauses_and_then_every_waiting_job_fails() {
    let mut bench = Bench::new();
    bench.submit(1, 1);
    bench.submit(2, 2);
    let failed = |slot, generation| Event::NotStarted {
        slot,
        generation,
        reason: "no".into(),
    };
    assert_eq!(bench.event(failed(0, 1)), []);
    assert_eq!(bench.event(failed(1, 1)), []);
    assert_eq!(bench.after(RULES.pause), []);
    let again = bench.after(RULES.pause);
    assert_eq!(
        again,
        [
            Action::Start {
                slot: 0,
                generation: 2
            },
            Action::Start {
                slot: 1,
                generation: 2
            }
        ]
    );
    let end = || End::NoWorker(Trouble::Start("no".into()));
    assert_eq!(bench.event(failed(0, 2)), []);
    // While one may still succeed, the jobs wait for it.
    assert_eq!(
        bench.event(failed(1, 2)),
        [resolve(1, end()), resolve(2, end())]
    );
    // The pool is as good as new.
    assert_eq!(
        bench.submit(3, 3),
        [Action::Start {
            slot: 0,
            generation: 3
        }]
    );
}

#[test]
fn a_worker_that_ends_before_its_hello_counts_as_not_started() {
    let mut bench = Bench::with(Rules {
        slots: 1,
        spawns: 1,
        ..RULES
    });
    bench.submit(1, 1);
    let death = Death {
        code: Some(2),
        stderr: "wrong version\n".into(),
        ..Death::default()
    };
    let actions = bench.event(Event::Gone {
        slot: 0,
        generation: 1,
        death,
    });
    let text = "the worker ended with exit code 2 before it said hello; it wrote:\nwrong version";
    assert_eq!(
        actions,
        [resolve(1, End::NoWorker(Trouble::Start(text.into())))]
    );
}

#[test]
fn a_silent_worker_is_given_up_after_the_handshake_time() {
    let mut bench = Bench::with(Rules {
        slots: 1,
        spawns: 1,
        ..RULES
    });
    bench.submit(1, 1);
    assert_eq!(bench.after(RULES.handshake), [Action::Stop { slot: 0 }]);
    assert_eq!(bench.after(RULES.grace), [Action::Kill { slot: 0 }]);
    let actions = bench.gone(0, 1);
    let silence = WireError::Silence {
        expected: "a hello in time",
    };
    assert_eq!(
        actions,
        [resolve(1, End::NoWorker(Trouble::Protocol(silence)))]
    );
}

#[test]
fn closing_lets_jobs_finish_and_then_ends_the_workers() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    let by = bench.now + Duration::from_secs(5);
    assert_eq!(bench.event(Event::Close { give_up: by, by }), []);
    assert_eq!(bench.submit(2, 2), [resolve(2, End::Closed)]);
    assert_eq!(
        bench.done(0, 1, 1),
        [
            resolve(1, made()),
            Action::Stop { slot: 0 },
            Action::Stop { slot: 1 }
        ]
    );
    assert_eq!(bench.gone(0, 1), []);
    assert_eq!(bench.gone(1, 1), [Action::Closed]);
}

#[test]
fn closing_gives_up_at_its_deadline() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    let by = bench.now + Duration::from_secs(5);
    bench.event(Event::Close { give_up: by, by });
    let actions = bench.after(Duration::from_secs(5));
    assert_eq!(
        actions,
        [
            resolve(1, End::Closed),
            Action::Stop { slot: 0 },
            Action::Stop { slot: 1 }
        ]
    );
    assert_eq!(
        bench.after(RULES.grace),
        [Action::Kill { slot: 0 }, Action::Kill { slot: 1 }]
    );
    bench.gone(1, 1);
    assert_eq!(bench.gone(0, 1), [Action::Closed]);
}

#[test]
fn closing_an_unused_pool_ends_at_once() {
    let mut bench = Bench::new();
    let by = bench.now;
    assert_eq!(
        bench.event(Event::Close { give_up: by, by }),
        [Action::Closed]
    );
}

#[test]
fn the_machine_waits_for_nothing_when_idle() {
    let mut bench = Bench::warmed();
    assert_eq!(bench.deadline(), None);
    bench.submit(1, 1);
    bench.done(0, 1, 1);
    assert_eq!(bench.deadline(), None);
}
