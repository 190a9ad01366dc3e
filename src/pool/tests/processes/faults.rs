//! Compilers that crash, hang, leave processes behind or write nonsense, and workers that are killed.

use std::fs;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use planish_pool::{JobError, Limit, Limits, Process};

use crate::bench::{Bench, alive, kill, object, stop, until, within};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "faults::a_killed_worker_costs_its_job_one_attempt_and_the_sibling_nothing",
            killed_worker,
        ),
        test(
            "faults::a_job_whose_worker_is_killed_twice_is_reported",
            killed_twice,
        ),
        test(
            "faults::an_idle_worker_that_is_killed_is_replaced",
            killed_idle,
        ),
        test("faults::whatever_is_killed_every_ticket_is_answered", storm),
        test(
            "faults::a_compiler_that_hangs_is_killed_at_the_limit",
            hanging,
        ),
        test(
            "faults::a_compiler_that_is_stopped_is_killed_at_the_limit",
            stopped_compiler,
        ),
        test(
            "faults::a_worker_that_is_stopped_is_killed_and_its_job_made_by_another",
            stopped_worker,
        ),
        test(
            "faults::a_compiler_that_spins_is_stopped_by_processor_time",
            spinning,
        ),
        test(
            "faults::a_compiler_that_starts_too_many_processes_is_killed",
            crowd,
        ),
        test(
            "faults::a_compiler_that_segfaults_reports_the_signal",
            segfault,
        ),
        test(
            "faults::a_grandchild_that_survives_the_compiler_is_killed",
            orphan,
        ),
        test("faults::a_grandchild_that_left_the_group_is_killed", daemon),
        test("faults::a_result_that_is_no_object_is_refused", no_object),
        test("faults::a_result_above_the_limit_is_refused", large),
    ]
}

fn killed_worker() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let first = pool.submit(bench.job("gate first"));
    bench.wait_for("gate", 1);
    let victim = bench.workers()[0];
    let second = pool.submit(bench.job("gate second"));
    let waiting = pool.submit(bench.job("good waiting"));
    let compilers = bench.wait_for("gate", 2);
    kill(victim);
    // The compiler of the killed worker goes with it, and the job gets a fresh worker.
    until("the first compiler to be gone", || !alive(compilers[0]));
    bench.wait_for("gate", 3);
    assert!(alive(compilers[1]), "the sibling goes on");
    fs::write(bench.path("open"), "").expect("write");
    for ticket in [first, second, waiting] {
        assert_eq!(&*ticket.wait().expect("made").bytes, object());
    }
    let stats = pool.stats();
    assert_eq!(
        (
            stats.crashes,
            stats.retried,
            stats.failed,
            stats.workers_started
        ),
        (1, 1, 0, 3)
    );
    assert_eq!(bench.started("gate"), 3);
    drop(pool);
    bench.assert_nothing_left();
}

fn killed_twice() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let ticket = pool.submit(bench.job("hang"));
    for attempt in 1..=2 {
        bench.wait_for("hang", attempt);
        let workers = bench.workers();
        assert_eq!(workers.len(), 1);
        kill(workers[0]);
    }
    let error = ticket.wait().expect_err("killed");
    let JobError::Crashed {
        job,
        process,
        signal,
        code,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (job.as_str(), *process, *signal, *code),
        ("hang", Process::Worker, Some(9), None)
    );
    assert_eq!(
        error.to_string(),
        "finish `hang`: the worker was killed by SIGKILL (9)"
    );
    pool.submit(bench.job("good"))
        .wait()
        .expect("the pool is well");
    assert_eq!(pool.stats().crashes, 2);
    drop(pool);
    bench.assert_nothing_left();
}

fn killed_idle() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    pool.submit(bench.job("good 1")).wait().expect("made");
    let workers = bench.workers();
    kill(workers[0]);
    pool.submit(bench.job("good 2"))
        .wait()
        .expect("made by another worker");
    assert!(pool.stats().crashes <= 1, "{:?}", pool.stats());
    drop(pool);
    bench.assert_nothing_left();
}

fn storm() {
    let bench = Bench::new();
    let pool = bench.pool(3);
    let tickets: Vec<_> = (0..40)
        .map(|number| pool.submit(bench.job(&format!("good {number}"))))
        .collect();
    let mut answered = 0;
    while answered < tickets.len() {
        // The worker may be gone, or not yet be one, by the time it is hit.
        for worker in bench.workers().into_iter().take(1) {
            let pid = rustix::process::Pid::from_raw(worker).expect("a process id");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(30));
        answered = tickets
            .iter()
            .filter(|ticket| ticket.try_get().is_some())
            .count();
    }
    let made = tickets
        .iter()
        .filter(|ticket| ticket.wait().is_ok())
        .count();
    for ticket in &tickets {
        match ticket.wait() {
            Ok(artefact) => assert_eq!(&*artefact.bytes, object()),
            Err(
                JobError::Crashed {
                    process: Process::Worker,
                    signal: Some(9),
                    ..
                }
                | JobError::Spawn { .. },
            ) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let stats = pool.stats();
    assert_eq!(stats.compiled as usize, made);
    assert_eq!(stats.failed as usize, tickets.len() - made);
    pool.submit(bench.job("good at last"))
        .wait()
        .expect("the pool is well");
    drop(pool);
    bench.assert_nothing_left();
}

fn hanging() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let limit = Duration::from_millis(300);
        let start = Instant::now();
        let error = pool
            .submit(bench.job("hang").limits(within(limit)))
            .wait()
            .expect_err("too late");
        assert!(start.elapsed() >= limit);
        let JobError::OverLimit {
            job,
            limit: Limit::Wall(told),
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((job.as_str(), *told), ("hang", limit));
        // Killed by the worker itself, which serves on.
        pool.submit(bench.job("good")).wait().expect("made");
        assert_eq!((pool.stats().workers_started, pool.stats().crashes), (1, 0));
        until("compiler and child to be gone", || {
            bench
                .noted("hang")
                .into_iter()
                .chain(bench.noted("child"))
                .all(|pid| !alive(pid))
        });
    }
    bench.assert_nothing_left();
}

fn stopped_compiler() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let job = bench.job("stop");
    let error = pool
        .submit(job.limits(within(Duration::from_millis(300))))
        .wait()
        .expect_err("it never ends");
    assert!(matches!(error, JobError::OverLimit { .. }), "{error:?}");
    pool.submit(bench.job("good")).wait().expect("made");
    assert_eq!(pool.stats().crashes, 0);
    drop(pool);
    bench.assert_nothing_left();
}

fn stopped_worker() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let job = bench.job("gate");
    // Long enough for the second worker to make it, which has as much time.
    let ticket = pool.submit(job.limits(within(Duration::from_secs(6))));
    bench.wait_for("gate", 1);
    let worker = bench.workers()[0];
    stop(worker);
    fs::write(bench.path("open"), "").expect("write");
    assert_eq!(&*ticket.wait().expect("made").bytes, object());
    assert_eq!(bench.started("gate"), 2);
    let stats = pool.stats();
    assert_eq!((stats.crashes, stats.retried, stats.failed), (1, 1, 0));
    until("the stopped worker to be gone", || !alive(worker));
    drop(pool);
    bench.assert_nothing_left();
}

fn spinning() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let limits = Limits {
        cpu: Duration::from_secs(1),
        ..Limits::default()
    };
    let error = pool
        .submit(bench.job("spin").limits(limits))
        .wait()
        .expect_err("too much");
    let JobError::OverLimit { limit, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*limit, Limit::Cpu(Duration::from_secs(1)));
    drop(pool);
    bench.assert_nothing_left();
}

fn crowd() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let job = |processes| {
            let limits = Limits {
                processes,
                ..Limits::default()
            };
            bench.job("crowd").limits(limits)
        };
        let error = pool.submit(job(8)).wait().expect_err("too many");
        let JobError::OverLimit { limit, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*limit, Limit::Processes(8));
        assert_eq!(
            error.to_string().lines().next(),
            Some("finish `crowd` within its 8 processes")
        );
        drop(pool);
    }
    bench.assert_nothing_left();
}

fn segfault() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        let error = pool.submit(bench.job("segv")).wait().expect_err("crashed");
        let JobError::Crashed {
            process, signal, ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*process, *signal), (Process::Compiler, Some(11)));
        assert!(
            error
                .to_string()
                .starts_with("finish `segv`: the compiler was killed by SIGSEGV (11)"),
            "{error}"
        );
        assert_eq!(pool.stats().crashes, 0, "no worker crashed");
    }
    assert_eq!(bench.started("segv"), 2, "it is not tried again");
    bench.assert_nothing_left();
}

fn orphan() {
    let bench = Bench::new();
    for workers in [1, 2] {
        let pool = bench.pool(workers);
        pool.submit(bench.job("orphan")).wait().expect("made");
        let gone = || bench.noted("child").into_iter().all(|pid| !alive(pid));
        // A worker has reaped it before it answers; without one it is only known to be killed.
        assert!(workers == 1 || gone());
        until("the child to be gone", gone);
        assert_eq!(bench.noted("child").len(), workers);
    }
    bench.assert_nothing_left();
}

fn daemon() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    pool.submit(bench.job("daemon")).wait().expect("made");
    let child = bench.noted("child");
    assert_eq!(child.len(), 1);
    assert!(!alive(child[0]), "the worker adopts and ends it");
    drop(pool);
    bench.assert_nothing_left();
}

fn no_object() {
    let bench = Bench::new();
    let pool = bench
        .builder(2)
        .cache(bench.path("cache"))
        .build()
        .expect("a pool");
    for (word, what) in [
        ("text", "starts with `this is no objec`"),
        ("nothing", "no file"),
        ("fifo", "something that is not a file"),
    ] {
        let error = pool.submit(bench.job(word)).wait().expect_err("no object");
        let JobError::Protocol { job, expected, got } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (job.as_str(), expected.as_str()),
            (word, "an ELF shared object from the compiler")
        );
        assert!(got.contains(what), "{got}");
        // A failure is not kept.
        pool.submit(bench.job(word))
            .wait()
            .expect_err("still no object");
        assert_eq!(bench.started(word), 2);
    }
    assert_eq!(pool.stats().failed, 6);
    drop(pool);
    bench.assert_nothing_left();
}

fn large() {
    let bench = Bench::new();
    let limits = Limits {
        output: 1 << 20,
        ..Limits::default()
    };
    let error = bench
        .pool(2)
        .submit(bench.job("large").limits(limits))
        .wait()
        .expect_err("too large");
    // `head` dies of SIGXFSZ or notices the failed write, and leaves a file that is no object.
    assert_eq!(error.job(), "large");
    bench.assert_nothing_left();
}
