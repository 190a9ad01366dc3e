//! Workers that have nothing to do, workers that do not listen, and the one deadline of the end.

use super::*;

const IDLE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(1);

fn bench() -> Bench {
    let mut bench = Bench::with(Rules {
        idle: Some(IDLE),
        ..RULES
    });
    bench.event(Event::Warm);
    bench.ready(0, 1);
    bench.ready(1, 1);
    bench
}

fn gone(bench: &mut Bench, slot: usize, generation: u64) -> Vec<Action> {
    let death = Death {
        code: Some(0),
        ..Death::default()
    };
    bench.event(Event::Gone {
        slot,
        generation,
        death,
    })
}

fn retired(slot: usize) -> [Action; 2] {
    [Action::Retire { slot }, Action::Stop { slot }]
}

#[test]
fn idle_workers_go_one_after_another_the_last_one_first() {
    let mut bench = bench();
    assert_eq!(bench.deadline(), Some(IDLE));
    assert_eq!(bench.after(IDLE.saturating_sub(MOMENT)), []);
    assert_eq!(bench.after(MOMENT), retired(1));
    // While it is stopping, the other one stays, and nothing but its grace is waited for.
    assert_eq!(bench.deadline(), Some(IDLE + RULES.grace));
    assert_eq!(bench.event(Event::Tick), []);
    gone(&mut bench, 1, 1);
    assert_eq!(bench.event(Event::Tick), retired(0));
    gone(&mut bench, 0, 1);
    assert_eq!(bench.deadline(), None);
    // The next job wakes one worker, not two.
    assert_eq!(
        bench.submit(1, 1),
        [Action::Start {
            slot: 0,
            generation: 2
        }]
    );
}

#[test]
fn no_worker_goes_under_a_running_job_and_every_job_is_a_new_beginning() {
    let mut bench = bench();
    bench.submit(1, 1);
    assert_eq!(bench.after(IDLE), retired(1));
    gone(&mut bench, 1, 1);
    assert_eq!(bench.after(IDLE / 2), []);
    bench.done(0, 1, 1);
    assert_eq!(bench.after(IDLE.saturating_sub(MOMENT)), []);
    assert_eq!(bench.after(MOMENT), retired(0));
}

#[test]
fn quiescing_spares_those_that_work() {
    let mut bench = bench();
    bench.submit(1, 1);
    assert_eq!(bench.event(Event::Quiesce), retired(1));
    assert_eq!(bench.event(Event::Quiesce), []);
}

#[test]
fn a_worker_that_does_not_listen_is_killed_at_the_limit_and_when_nobody_waits() {
    let deaf = Wish { deaf: true, ..WISH };
    let mut bench = bench();
    bench.wish(1, 1, deaf);
    assert_eq!(bench.after(WALL.saturating_sub(MOMENT)), retired(1));
    let ended = bench.after(MOMENT);
    assert_eq!(
        ended[..2],
        [Action::Stop { slot: 0 }, Action::Kill { slot: 0 }]
    );
    assert!(matches!(
        ended[2..],
        [Action::Resolve {
            end: End::Overran { limit: WALL },
            ..
        }]
    ));
    let mut bench = self::bench();
    bench.wish(2, 2, deaf);
    let cancelled = bench.event(Event::Cancel { ticket: 2 });
    assert!(cancelled.contains(&Action::Interrupt { slot: 0, run: 2 }));
    assert_eq!(
        bench.event(Event::Tick),
        [Action::Stop { slot: 0 }, Action::Kill { slot: 0 }]
    );
}

#[test]
fn the_end_has_one_deadline() {
    let mut bench = bench();
    bench.submit(1, 1);
    let (give_up, by) = (
        bench.now + Duration::from_millis(750),
        bench.now + Duration::from_secs(1),
    );
    // The worker without a job goes at once, the other may finish.
    bench.event(Event::Close { give_up, by });
    let given_up = bench.after(Duration::from_millis(750));
    assert!(matches!(
        given_up[0],
        Action::Resolve {
            end: End::Closed,
            ..
        }
    ));
    assert_eq!(
        given_up[1..],
        [Action::Stop { slot: 0 }, Action::Stop { slot: 1 }]
    );
    assert_eq!(
        bench.after(Duration::from_millis(250)),
        [Action::Kill { slot: 0 }, Action::Kill { slot: 1 }]
    );
}

#[test]
fn a_deadline_that_passed_while_nobody_looked_is_set_anew() {
    let mut bench = Bench::warmed();
    bench.submit(1, 1);
    let still = Duration::from_secs(600);
    assert_eq!(bench.after(still), []);
    let again = still + RULES.overrun;
    assert_eq!(bench.deadline(), Some(again));
    // Seen in time, it holds.
    let actions = bench.after(RULES.overrun);
    assert!(actions.contains(&Action::Kill { slot: 0 }), "{actions:?}");
    // The kernel has its time anew, too.
    assert_eq!(bench.after(still), []);
    assert_eq!(bench.done(0, 1, 1), []);
}
