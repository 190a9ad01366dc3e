//! Pools that share a cache: what one of them makes, the others wait for.

use std::fs;
use std::sync::mpsc::channel;
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::{Cache, Cause, JobError, Pool, Process, Report, Status, Ticket};

use crate::bench::{Bench, PATIENCE, object};
use crate::test;

/// Time enough for a waiting pool to look several times.
const A_WHILE: Duration = Duration::from_millis(60);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("sharing::two_pools_make_one_job_once", once),
        test("sharing::who_waits_is_told_of_a_failure", failure),
        test("sharing::who_waits_takes_over", take_over),
        test(
            "sharing::a_job_that_kills_is_given_up_by_every_pool",
            given_up,
        ),
    ]
}

fn pool(bench: &Bench) -> Pool {
    let builder = bench.builder(2).cache(bench.path("cache"));
    builder.build().expect("a pool")
}

/// Asks a second pool for what a first one is making, and comes back when it waits for that one.
fn waiting(bench: &Bench, source: &str) -> (Pool, Ticket) {
    let (tell, hear) = channel();
    let observer = move |report: &Report| {
        if report.status == Status::Elsewhere {
            // Nobody hears the later ones.
            let _ = tell.send(());
        }
    };
    let builder = bench.builder(2).cache(bench.path("cache"));
    let second = builder.observer(observer).build().expect("a pool");
    let ticket = second.submit(bench.job(source));
    hear.recv_timeout(PATIENCE).expect("it waits");
    assert!(ticket.wait_timeout(A_WHILE).is_none());
    (second, ticket)
}

fn once() {
    let bench = Bench::new();
    let first = pool(&bench);
    let made = first.submit(bench.job("gate"));
    bench.wait_for("gate", 1);
    let (second, waited) = waiting(&bench, "gate");
    fs::write(bench.path("open"), "").expect("open the gate");
    let made = made.wait().expect("it is made");
    let waited = waited.wait().expect("it is found");
    assert_eq!((made.from_cache, waited.from_cache), (false, true));
    assert_eq!(*waited.bytes, *object());
    assert_eq!(bench.started("gate"), 1);
    drop((first, second));
    assert_eq!(crate::bench::files(&bench.path("cache/v1/claims")), 0);
    bench.assert_nothing_left();
}

fn failure() {
    let bench = Bench::new();
    let first = pool(&bench);
    let asked = first.submit(bench.job("late it is wrong"));
    bench.wait_for("late", 1);
    let (_second, waited) = waiting(&bench, "late it is wrong");
    fs::write(bench.path("open"), "").expect("open the gate");
    for ticket in [asked, waited] {
        let error = ticket.wait().expect_err("it is refused");
        assert!(matches!(&error, JobError::Compile { .. }), "{error:?}");
        assert!(error.to_string().contains("it is wrong"), "{error}");
    }
    assert_eq!(bench.started("late"), 1);
    // Who comes later tries for itself.
    let later = first.submit(bench.job("late it is wrong"));
    later.wait().expect_err("it is refused again");
    assert_eq!(bench.started("late"), 2);
}

fn take_over() {
    let bench = Bench::new();
    let first = pool(&bench);
    let given_up = first.submit(bench.job("gate"));
    bench.wait_for("gate", 1);
    let (_second, waits) = waiting(&bench, "gate");
    given_up.cancel();
    bench.wait_for("gate", 2);
    fs::write(bench.path("open"), "").expect("open the gate");
    assert!(!waits.wait().expect("it is made").from_cache);
    assert!(matches!(given_up.wait(), Err(JobError::Cancelled { .. })));
}

fn given_up() {
    let bench = Bench::new();
    let (first, second) = (pool(&bench), pool(&bench));
    for _ in 0..2 {
        let error = first.submit(bench.job("segv")).wait().expect_err("crashed");
        assert!(matches!(error, JobError::Crashed { .. }), "{error:?}");
    }
    for pool in [&first, &second] {
        let error = pool.submit(bench.job("segv")).wait().expect_err("given up");
        let JobError::GivenUp { evidence, .. } = &error else {
            panic!("{error:?}")
        };
        let process = Process::Compiler;
        let cause = Cause::Signal {
            process,
            signal: 11,
        };
        assert_eq!((evidence.deaths, &evidence.cause), (2, &cause));
        assert!(evidence.remains.usage.peak > 0, "{evidence:?}");
        let words = error.to_string();
        let shown = ["it used ", "MiB; to repeat it", "env -i PATH="];
        assert!(shown.iter().all(|part| words.contains(part)), "{words}");
        let text = "finish `segv`: it is not tried again: 2 died on it, the last one, the \
                    compiler, by SIGSEGV (11)";
        assert_eq!(words.lines().next(), Some(text));
    }
    assert_eq!(bench.started("segv"), 2);
    // Others are not touched, and a cleared cache has forgotten.
    second.submit(bench.job("good")).wait().expect("made");
    drop((first, second));
    let cache = Cache::open(bench.path("cache")).expect("a cache");
    cache.clear().expect("it clears");
    let error = pool(&bench)
        .submit(bench.job("segv"))
        .wait()
        .expect_err("crashed");
    assert!(matches!(error, JobError::Crashed { .. }), "{error:?}");
}
