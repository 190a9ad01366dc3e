//! Which run goes where and when: urgency, work sent ahead, work of other pools.

use super::*;

#[test]
fn the_most_urgent_run_goes_first() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    bench.submit(2, 2);
    bench.submit(3, 3);
    let urgent = Wish { urgency: 9, ..WISH };
    assert_eq!(bench.wish(4, 4, urgent), []);
    assert_eq!(bench.done(0, 1, 1), [resolve(1, made()), give(0, 4)]);
    assert_eq!(bench.done(0, 1, 4), [resolve(4, made()), give(0, 3)]);
}

#[test]
fn brief_runs_are_sent_ahead_and_others_wait() {
    let mut bench = Bench::warmed();
    bench.submit_brief(1);
    bench.submit(2, 2);
    assert_eq!(bench.submit_brief(3), [give(0, 3)]);
    // Behind a job that may take long nothing is sent.
    assert_eq!(bench.submit(4, 4), []);
    assert_eq!(bench.submit_brief(5), []);
    assert_eq!(bench.done(0, 1, 1), [resolve(1, made())]);
    assert_eq!(bench.done(0, 1, 3), [resolve(3, made()), give(0, 4)]);
    assert_eq!(bench.done(1, 1, 2), [resolve(2, made()), give(1, 5)]);
}

#[test]
fn what_was_only_in_the_way_of_a_death_loses_no_attempt() {
    let mut bench = Bench::warmed();
    for (ticket, slot) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        assert_eq!(bench.submit_brief(ticket), [give(slot, ticket)]);
    }
    let retry = |run| Action::Retry {
        tickets: vec![run],
        death: killed(),
    };
    assert_eq!(bench.gone(0, 1), [retry(1), give(1, 1), give(1, 3)]);
    let start = |slot, generation| Action::Start { slot, generation };
    assert_eq!(bench.gone(1, 1), [retry(2), start(0, 2), start(1, 2)]);
    assert_eq!(
        bench.ready(0, 2),
        [give(0, 2), give(0, 4), give(0, 1), give(0, 3)]
    );
    assert_eq!(bench.done(0, 2, 2), [resolve(2, made())]);
    assert_eq!(bench.done(0, 2, 4), [resolve(4, made())]);
    // The first of them has now died twice, the other one not at all.
    assert_eq!(bench.gone(0, 2), [resolve(1, End::Died(killed()))]);
    assert_eq!(bench.ready(1, 2), [give(1, 3)]);
    assert_eq!(bench.done(1, 2, 3), [resolve(3, made())]);
}

#[test]
fn cancelling_what_was_sent_ahead_costs_the_worker_nothing() {
    let mut bench = Bench::with(Rules { slots: 1, ..RULES });
    bench.submit_brief(1);
    bench.ready(0, 1);
    assert_eq!(bench.submit_brief(2), [give(0, 2)]);
    let actions = bench.event(Event::Cancel { ticket: 2 });
    assert!(actions.contains(&Action::Interrupt { slot: 0, run: 2 }));
    assert_eq!(bench.done(0, 1, 1), [resolve(1, made())]);
    // Its answer is still to come, and the worker is not idle before.
    assert_eq!(bench.deadline(), Some(RULES.grace));
    assert_eq!(bench.submit(3, 3), []);
    let answer = Event::Answer {
        slot: 0,
        generation: 1,
        run: 2,
        result: Err(Failure::Cancelled),
    };
    assert_eq!(bench.event(answer), [give(0, 3)]);
}

#[test]
fn what_another_pool_makes_is_looked_for_again_and_taken_over_when_it_is_gone() {
    let mut bench = Bench::warmed();
    let key = JobKey::from_bytes([1; 32]);
    let look = [Action::LookUp { run: 1 }];
    let submit = Event::Submit {
        ticket: 1,
        key,
        wish: WISH,
    };
    assert_eq!(bench.event(submit), look);
    let seen = |sought| Event::LookedUp { run: 1, sought };
    for doubled in [1, 2, 4, 8, 16, 32, 32] {
        assert_eq!(bench.event(seen(Sought::Elsewhere)), []);
        let pause = RULES.look * doubled;
        assert_eq!(bench.deadline(), Some(bench.now - bench.start + pause));
        assert_eq!(bench.after(pause), look);
    }
    assert_eq!(bench.event(seen(Sought::Missing)), [give(0, 1)]);
    assert_eq!(bench.done(0, 1, 1), [resolve(1, made())]);
    assert_eq!(bench.deadline(), None);
}

#[test]
fn another_pools_failure_is_ours_and_a_cancel_ends_the_wait() {
    let mut bench = Bench::warmed();
    let submit = |ticket| Event::Submit {
        ticket,
        key: JobKey::from_bytes([ticket as u8; 32]),
        wish: WISH,
    };
    for run in [1, 2] {
        bench.event(submit(run));
        let sought = Sought::Elsewhere;
        bench.event(Event::LookedUp { run, sought });
    }
    bench.event(Event::Cancel { ticket: 2 });
    assert_eq!(bench.after(RULES.look), [Action::LookUp { run: 1 }]);
    let failure = Failure::Cancelled;
    let sought = Sought::Failed(failure.clone());
    assert_eq!(
        bench.event(Event::LookedUp { run: 1, sought }),
        [resolve(1, End::Failed(failure))]
    );
    assert_eq!(bench.deadline(), None);
}
