//! What a pool tells while it works, and how its workers come and go.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::wire::Note;
use planish_pool::{Job, JobError, Observer, Report, Status, WorkerReport, WorkerStatus};

use crate::bench::{Bench, PATIENCE, until};
use crate::tasks::tasking;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("story::a_job_is_told_of_step_by_step", steps),
        test("story::a_long_job_is_told_of_at_every_beat", beats),
        test("story::each_slot_is_started_once_and_told_of", slots),
        test("story::workers_that_rest_go_one_by_one_and_come_back", rest),
        test("story::draining_waits_for_all_that_is_under_way", drain),
        test("story::every_worker_does_its_first_job_first", first_job),
        test(
            "story::a_first_job_that_fails_is_the_error_of_every_job",
            no_first_job,
        ),
        test("story::a_process_also_for_one_worker", one_process),
    ]
}

/// Everything that a pool told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Observer for Told {
    fn report(&self, report: &Report) {
        let text = match &report.status {
            Status::Note {
                note: Note::Phase { name },
                ..
            } => format!("phase {name}"),
            // How much differs from run to run.
            Status::Note {
                note: Note::Used { .. },
                ..
            } => return,
            Status::Running {
                worker,
                phase,
                elapsed,
            } => {
                assert!(*elapsed >= Duration::from_millis(20));
                format!(
                    "running on {worker} in {:?}",
                    phase.as_ref().map(|(name, _)| name)
                )
            }
            Status::Failed { .. } => "failed".to_owned(),
            status => format!("{status:?}"),
        };
        self.push(format!("{}: {text}", report.job));
    }

    fn worker(&self, report: &WorkerReport) {
        let text = match &report.status {
            WorkerStatus::Ready { process } => {
                assert!(*process > 1);
                "ready".to_owned()
            }
            status => format!("{status:?}"),
        };
        self.push(format!("worker {}: {text}", report.worker));
    }
}

impl Told {
    fn push(&self, text: String) {
        self.0.lock().expect("no panic").push(text);
    }

    fn of(&self, start: &str) -> Vec<String> {
        let all = self.0.lock().expect("no panic");
        all.iter()
            .filter_map(|line| line.strip_prefix(start).map(str::to_owned))
            .collect()
    }
}

fn steps() {
    for workers in [1, 2] {
        let bench = Bench::new();
        let told = Told::default();
        let builder = bench.builder(workers).observer(told.clone());
        let pool = builder.cache(bench.path("cache")).build().expect("a pool");
        pool.submit(bench.job("good")).wait().expect("it is made");
        assert_eq!(
            told.of("good: "),
            [
                "Submitted",
                "Queued",
                "Started { worker: 0 }",
                "phase write the source",
                "phase compile",
                "phase read the result",
                "Done { from_cache: false }"
            ]
        );
        pool.submit(bench.job("good")).wait().expect("it is found");
        assert_eq!(
            told.of("good: ")[7..],
            ["Submitted", "Done { from_cache: true }"]
        );
        drop(pool);
        assert_eq!(told.of("worker 0: ")[..2], ["Starting", "ready"]);
        assert_eq!(told.of("worker 0: ").len(), 3);
        bench.assert_nothing_left();
    }
}

fn beats() {
    let bench = Bench::new();
    let told = Told::default();
    let builder = bench.builder(2).observer(told.clone());
    let pool = builder
        .heartbeat(Duration::from_millis(20))
        .build()
        .expect("a pool");
    let slow = pool.submit(bench.job("gate"));
    let beats = || told.of("gate: running on ");
    // The first ones may come before its worker has got so far.
    let compiling = |beat: &String| beat.ends_with("in Some(\"compile\")");
    until("three beats and the phase", || {
        beats().len() >= 3 && beats().iter().any(compiling)
    });
    fs::write(bench.path("open"), "").expect("open the gate");
    slow.wait().expect("it is made");
    let beats = beats();
    assert!(beats.iter().all(|beat| beat.starts_with('0')), "{beats:?}");
    drop(pool);
    bench.assert_nothing_left();
}

fn slots() {
    let bench = Bench::new();
    let told = Told::default();
    let pool = bench
        .builder(3)
        .observer(told.clone())
        .build()
        .expect("a pool");
    assert_eq!(pool.ready(), 0);
    assert!(!pool.wait_ready(Duration::ZERO));
    pool.warm();
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    assert_eq!(pool.ready(), 3);
    assert_eq!(pool.stats().workers_started, 3);
    assert_eq!(bench.workers().len(), 3);
    for worker in 0..3 {
        assert_eq!(
            told.of(&format!("worker {worker}: ")),
            ["Starting", "ready"]
        );
    }
    drop(pool);
    // With one compile thread there is nothing to warm.
    let pool = bench.pool(1);
    pool.warm();
    assert!(pool.wait_ready(Duration::ZERO));
    pool.submit(bench.job("good")).wait().expect("it is made");
    assert_eq!(bench.workers().len(), 0);
    drop(pool);
    bench.assert_nothing_left();
}

fn rest() {
    let bench = Bench::new();
    let builder = bench.builder(2).idle(Duration::from_millis(50));
    let pool = builder.build().expect("a pool");
    let slow = pool.submit(bench.job("gate"));
    bench.wait_for("gate", 1);
    pool.warm();
    // The one that works stays, however long the other one has been gone.
    until("the idle worker to be gone", || {
        pool.stats().workers_retired == 1
    });
    until("its process to be gone", || bench.workers().len() == 1);
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(
        (pool.stats().workers_retired, bench.workers().len()),
        (1, 1)
    );
    fs::write(bench.path("open"), "").expect("open the gate");
    slow.wait().expect("it is made");
    until("the other one to be gone", || bench.workers().is_empty());
    until("the pool to know it", || pool.ready() == 0);
    pool.submit(bench.job("good"))
        .wait()
        .expect("a worker is started again");
    let stats = pool.stats();
    assert_eq!((stats.workers_started, stats.crashes), (3, 0));
    drop(pool);
    // At once, when it is asked for. One that rests for long: none goes home before the other has come.
    let pool = bench.pool(2);
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    pool.quiesce();
    until("no worker to be ready", || pool.ready() == 0);
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    drop(pool);
    bench.assert_nothing_left();
}

fn drain() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    assert!(pool.drain(Duration::ZERO));
    let slow = pool.submit(bench.job("gate"));
    assert!(!pool.drain(Duration::from_millis(20)));
    fs::write(bench.path("open"), "").expect("open the gate");
    assert!(pool.drain(PATIENCE));
    assert!(slow.try_get().is_some());
    pool.submit(bench.job("good")).wait().expect("it goes on");
    drop(pool);
    bench.assert_nothing_left();
}

fn first_job() {
    let bench = Bench::new();
    let notes = bench.path("notes");
    let first = Job::task("append", notes.display().to_string()).named("the first job");
    let pool = tasking(&bench, 2).first_job(first).build().expect("a pool");
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    assert_eq!(bench.noted("first").len(), 2);
    let echo = pool.submit(Job::echo("x", Duration::ZERO)).wait();
    assert_eq!(&*echo.expect("an echo").bytes, b"x");
    assert_eq!((bench.noted("first").len(), pool.stats().requested), (2, 1));
    drop(pool);
    // Also for a worker that is no process.
    fs::remove_file(&notes).expect("remove");
    let echo = Job::echo("first", Duration::ZERO);
    let pool = bench.builder(1).first_job(echo).build().expect("a pool");
    assert!(pool.submit(Job::echo("x", Duration::ZERO)).wait().is_ok());
    drop(pool);
    bench.assert_nothing_left();
}

fn no_first_job() {
    let bench = Bench::new();
    let first = Job::task("refuse", "no licence").named("the licence");
    let pool = tasking(&bench, 2).first_job(first).build().expect("a pool");
    let failed = pool
        .submit(Job::echo("x", Duration::ZERO).named("x"))
        .wait();
    let Err(JobError::Protocol { expected, got, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(expected, "a worker that does its first job");
    assert_eq!(got, "one that failed to do `the licence`: no licence");
    drop(pool);
    bench.assert_nothing_left();
}

fn one_process() {
    let bench = Bench::new();
    let pool = bench.builder(1).in_a_process().build().expect("a pool");
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    assert_eq!(bench.workers().len(), 1);
    drop(pool);
    bench.assert_nothing_left();
}
