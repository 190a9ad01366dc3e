//! Work that a program has given a name: in a worker, with its notes told in the parent.

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use planish_pool::wire::{Level, Note};
use planish_pool::{
    Builder, Digest, Handlers, Job, JobContext, JobError, Limit, Limits, Process, Report, Status,
    WorkerCommand,
};

use crate::bench::{Bench, alive, until, within};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "tasks::a_task_has_its_payload_its_environment_and_the_cache",
            given,
        ),
        test("tasks::what_a_task_tells_is_told_while_it_runs", told),
        test("tasks::a_task_that_nobody_knows_is_refused", unknown),
        test(
            "tasks::a_task_ends_at_its_limit_or_when_it_is_cancelled",
            ended,
        ),
        test(
            "tasks::a_task_has_its_processor_time_and_its_memory",
            limited,
        ),
        test("tasks::a_panic_tells_where_it_came_from", panics),
    ]
}

/// What a worker that is this program can do.
pub(crate) fn handlers() -> Handlers {
    Handlers::standard()
        .with_task("append", append)
        .with_task("refuse", |payload, _| Err(text(payload)))
        .with_task("given", |payload, context| {
            Ok(what_is_given(payload, context))
        })
        .with_task("tell", tell)
        .with_task("who", |_, _| {
            Ok(std::process::id().to_string().into_bytes())
        })
        .with_task("digest", |payload, _| {
            Ok(Digest::of(payload).to_string().into_bytes())
        })
        .with_task("spin", spin)
        .with_task("burn", |_, _| {
            loop {
                std::hint::spin_loop();
            }
        })
        .with_task("hoard", hoard)
        .with_task("reverse", |bytes, _| {
            Ok(bytes.iter().rev().copied().collect())
        })
        .with_task("panic", |_, _| panic!("a mistake in the task"))
}

/// A pool whose workers know these tasks.
pub(crate) fn tasking(bench: &Bench, workers: usize) -> Builder {
    let command = WorkerCommand::this_program().expect("this program's path");
    bench.builder(workers).in_a_process().worker(command)
}

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// In one write: two processes do this at once, and a formatted one is a write for each of its parts.
fn note(path: &str, word: &str) -> Result<(), String> {
    let line = format!("{word} {}\n", std::process::id());
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    written.map_err(|error| format!("write {path}: {error}"))
}

fn append(payload: &[u8], _: &mut JobContext<'_>) -> Result<Vec<u8>, String> {
    note(&text(payload), "first").map(|()| Vec::new())
}

fn what_is_given(payload: &[u8], context: &mut JobContext<'_>) -> Vec<u8> {
    // The pool tells who manages the worker's memory how to do it.
    let own = std::env::vars_os()
        .filter(|(name, _)| name != "GLIBC_TUNABLES" && name != "MIMALLOC_ARENA_RESERVE")
        .count();
    let environment = context.environment();
    let cache = context.cache().map(|path| path.display().to_string());
    format!("{} {own} {environment:?} {cache:?}", text(payload)).into_bytes()
}

fn tell(payload: &[u8], context: &mut JobContext<'_>) -> Result<Vec<u8>, String> {
    context.phase("begin");
    context.log(Level::Warn, "tests::tell", "it is late");
    context.count("sheep", 2);
    // Nothing of it waits for the end.
    let (path, gate) = (text(payload), Instant::now() + Duration::from_secs(30));
    while !std::path::Path::new(&path).exists() {
        if context.cancelled_before(Instant::now() + Duration::from_millis(5))
            || Instant::now() > gate
        {
            return Err("nobody opened the gate".to_owned());
        }
    }
    context.phase("end");
    Ok(Vec::new())
}

fn spin(payload: &[u8], _: &mut JobContext<'_>) -> Result<Vec<u8>, String> {
    note(&text(payload), "spin")?;
    loop {
        std::thread::park();
    }
}

fn hoard(payload: &[u8], _: &mut JobContext<'_>) -> Result<Vec<u8>, String> {
    let bytes = text(payload)
        .parse()
        .map_err(|_| "a number of bytes".to_owned())?;
    let mut hoard: Vec<u8> = Vec::new();
    let reserved = hoard.try_reserve_exact(bytes);
    reserved
        .map(|()| Vec::new())
        .map_err(|error| error.to_string())
}

fn limited() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    let limits = |cpu: u64, memory| Limits {
        cpu: Duration::from_secs(cpu),
        memory,
        ..Limits::default()
    };
    let failed = pool
        .submit(Job::task("burn", "").limits(limits(1, 4 << 30)))
        .wait();
    let cpu = Duration::from_secs(1);
    assert!(
        matches!(failed, Err(JobError::OverLimit { limit: Limit::Cpu(found), .. }) if found == cpu),
        "{failed:?}"
    );
    assert_eq!(pool.stats().retried, 0);
    let hoard = |bytes: u64, memory| {
        let job = Job::task("hoard", bytes.to_string()).limits(limits(60, memory));
        pool.submit(job).wait()
    };
    // Little enough for a small machine to promise it.
    let failed = hoard(3 << 29, 1 << 30);
    assert!(matches!(failed, Err(JobError::Task { .. })), "{failed:?}");
    // The next one has limits of its own.
    let made = hoard(3 << 29, 64 << 30);
    assert!(made.is_ok(), "{made:?}");
    drop(pool);
    bench.assert_nothing_left();
}

fn given() {
    let bench = Bench::new();
    let cache = bench.path("cache");
    let pool = tasking(&bench, 1).cache(&cache).build().expect("a pool");
    let job = Job::task("given", "payload").environment([("LANG", "C"), ("HOME", "/nowhere")]);
    let given = pool.submit(job.clone()).wait().expect("it is done");
    let environment = r#"[("HOME", "/nowhere"), ("LANG", "C")]"#;
    let expected = format!(
        "payload 0 {environment} Some({:?})",
        cache.display().to_string()
    );
    assert_eq!(text(&given.bytes), expected);
    // It is done as often as it is asked for.
    assert!(!pool.submit(job).wait().expect("it is done").from_cache);
    drop(pool);
    bench.assert_nothing_left();
}

fn told() {
    let bench = Bench::new();
    let notes = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&notes);
    let observer = move |report: &Report| {
        if let Status::Note { note, .. } = &report.status {
            heard.lock().expect("no panic").push(note.clone());
        }
    };
    let pool = tasking(&bench, 1)
        .observer(observer)
        .build()
        .expect("a pool");
    let gate = bench.path("open");
    let ticket = pool.submit(Job::task("tell", gate.display().to_string()));
    until("three notes", || notes.lock().expect("no panic").len() == 3);
    assert!(ticket.try_get().is_none());
    std::fs::write(gate, "").expect("open the gate");
    ticket.wait().expect("it is done");
    let phase = |name: &str| Note::Phase {
        name: name.to_owned(),
    };
    let log = Note::Log {
        level: Level::Warn,
        target: "tests::tell".to_owned(),
        text: "it is late".to_owned(),
    };
    let count = Note::Count {
        name: "sheep".to_owned(),
        amount: 2,
    };
    assert_eq!(
        *notes.lock().expect("no panic"),
        [phase("begin"), log, count, phase("end")]
    );
    drop(pool);
    bench.assert_nothing_left();
}

fn unknown() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    let failed = pool.submit(Job::task("dance", "").named("dance")).wait();
    assert!(
        matches!(failed, Err(JobError::Protocol { .. })),
        "{failed:?}"
    );
    let failed = pool
        .submit(Job::task("refuse", "not today").named("r"))
        .wait();
    let error = failed.expect_err("it refuses");
    assert_eq!(error.to_string(), "do `r`: not today");
    drop(pool);
    bench.assert_nothing_left();
}

fn ended() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    let notes = bench.path("notes").display().to_string();
    let limit = Duration::from_millis(300);
    // Asked before: at its limit it may not have come to take a note.
    let who = pool.submit(Job::task("who", "")).wait().expect("a number");
    let spinning = text(&who.bytes).parse().expect("a number");
    let job = Job::task("spin", notes.clone()).limits(within(limit));
    let failed = pool.submit(job).wait();
    assert!(
        matches!(failed, Err(JobError::OverLimit { limit: Limit::Wall(found), .. }) if found == limit),
        "{failed:?}"
    );
    until("the worker to be killed", || !alive(spinning));
    let before = bench.started("spin");
    let ticket = pool.submit(
        Job::task("spin", notes)
            .limits(Limits::default())
            .named("again"),
    );
    let spinning = bench.wait_for("spin", before + 1)[before];
    ticket.cancel();
    assert!(matches!(ticket.wait(), Err(JobError::Cancelled { .. })));
    until("the worker to be killed", || !alive(spinning));
    assert!(pool.submit(Job::task("given", "x")).wait().is_ok());
    assert_eq!((pool.stats().crashes, pool.stats().retried), (0, 0));
    drop(pool);
    bench.assert_nothing_left();
}

fn panics() {
    let bench = Bench::new();
    let pool = tasking(&bench, 1).build().expect("a pool");
    let failed = pool.submit(Job::task("panic", "").named("p")).wait();
    let Err(JobError::Crashed {
        job,
        process: Process::Worker,
        remains,
        ..
    }) = failed
    else {
        panic!("{failed:?}");
    };
    assert_eq!(job, "p");
    let stderr = remains.stderr;
    assert!(stderr.contains("a mistake in the task"), "{stderr}");
    // The backtrace names the function that ran it.
    assert!(stderr.contains("handlers"), "{stderr}");
    drop(pool);
    bench.assert_nothing_left();
}
