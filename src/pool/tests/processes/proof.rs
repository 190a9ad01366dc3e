//! Results that are tried by a process of its own before anybody gets them.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use planish_pool::{Cache, Job, JobError, JobKey, Lookup, Pool, Process};

use crate::bench::{Bench, object};
use crate::roles;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("proof::what_is_proven_is_kept_with_its_mark", proven),
        test("proof::what_is_wrong_is_told_and_not_kept", wrong),
        test("proof::what_kills_is_told_and_not_kept", kills),
        test("proof::what_does_not_end_is_stopped", hangs),
        test("proof::what_is_tried_can_read_no_file", reads),
        test("proof::a_worker_that_proves_nothing_says_so", no_prover),
    ]
}

fn pool(bench: &Bench, workers: usize) -> Pool {
    bench
        .builder(workers)
        .worker(roles::proving())
        .cache(bench.path("cache"))
        .build()
        .expect("a pool")
}

fn claiming(bench: &Bench, claim: &str) -> Job {
    bench.job("good").claiming(claim).named(claim)
}

fn kept(bench: &Bench, key: &JobKey) -> Lookup {
    Cache::open(bench.path("cache")).expect("a cache").get(key)
}

fn proven() {
    let bench = Bench::new();
    for (workers, cached) in [(1, false), (2, true)] {
        let pool = pool(&bench, workers);
        let artefact = pool
            .submit(claiming(&bench, "right"))
            .wait()
            .expect("it is right");
        assert_eq!(&*artefact.bytes, object());
        assert_eq!(artefact.from_cache, cached);
        assert_eq!(artefact.proven.as_deref(), Some("64-byte machine"));
        let Lookup::Found(entry) = kept(&bench, &artefact.key) else {
            panic!("it is not kept")
        };
        assert_eq!(entry.proven, artefact.proven);
        assert!(cached || artefact.usage.peak > 0);
    }
    let pool = pool(&bench, 2);
    let plain = pool.submit(bench.job("good")).wait().expect("made");
    assert_eq!((plain.proven, plain.from_cache), (None, false));
    assert_eq!(bench.started("good"), 2);
}

fn wrong() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = pool(&bench, workers);
        let ticket = pool.submit(claiming(&bench, "wrong"));
        let error = ticket.wait().expect_err("it is wrong");
        assert!(matches!(error, JobError::Wrong { .. }), "{error:?}");
        assert_eq!(
            error.to_string().lines().next(),
            Some("finish `wrong`: what the compiler made is wrong: value 3 is 7, expected 8")
        );
        assert_eq!(kept(&bench, &ticket.key()), Lookup::Missing);
    }
    // It was wrong twice: that is enough.
    let error = pool(&bench, 2)
        .submit(claiming(&bench, "wrong"))
        .wait()
        .expect_err("given up");
    assert!(matches!(error, JobError::GivenUp { .. }), "{error:?}");
    assert_eq!(bench.started("good"), 2);
}

fn kills() {
    let bench = Bench::new();
    let pool = pool(&bench, 2);
    let ticket = pool.submit(claiming(&bench, "dies"));
    let error = ticket.wait().expect_err("it kills");
    let JobError::Crashed {
        process, signal, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*process, *signal), (Process::Result, Some(6)));
    assert_eq!(kept(&bench, &ticket.key()), Lookup::Missing);
    assert_eq!(pool.stats().crashes, 0, "no worker crashed");
    drop(pool);
    bench.assert_nothing_left();
}

fn hangs() {
    let bench = Bench::new();
    let pool = pool(&bench, 2);
    let start = Instant::now();
    let error = pool
        .submit(claiming(&bench, "hangs"))
        .wait()
        .expect_err("it hangs");
    assert!(start.elapsed() >= Duration::from_secs(10));
    assert!(
        error.to_string().contains("it did not end within 10 s"),
        "{error}"
    );
    drop(pool);
    bench.assert_nothing_left();
}

fn reads() {
    let bench = Bench::new();
    let pool = pool_in_sandbox(&bench);
    let confined = pool.confinement().expect("it is tried").landlock.is_some();
    // The scripted compiler takes no notes here, and that is no error of its own.
    let result = pool.submit(claiming(&bench, "reads")).wait();
    match result {
        Err(error) => assert!(error.to_string().contains("Permission denied"), "{error}"),
        Ok(artefact) => assert!(!confined, "{artefact:?}"),
    }
}

fn pool_in_sandbox(bench: &Bench) -> Pool {
    bench.script("cc", COPIES);
    bench
        .builder(2)
        .worker(roles::proving())
        .sandbox(planish_pool::Sandbox::BestEffort)
        .build()
        .expect("a pool")
}

fn no_prover() {
    let bench = Bench::new();
    let error = bench
        .pool(2)
        .submit(claiming(&bench, "right"))
        .wait()
        .expect_err("not tried");
    assert!(matches!(error, JobError::Spawn { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("this worker program cannot try what it makes"),
        "{error}"
    );
}

/// A compiler that needs nothing but its directory.
const COPIES: &str = r#"#!/bin/sh
case "$1" in -dump*) echo 1; exit 0 ;; esac
printf '\177ELF\002\001\000\000\000\000\000\000\000\000\000\000\003\000' > kernel.so
"#;
