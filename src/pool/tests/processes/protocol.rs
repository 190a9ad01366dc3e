//! Workers that do not keep to the protocol.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::wire::{Frame, FrameKind, VERSION};
use planish_pool::{Job, JobError, Pool, Process};

use crate::bench::{Bench, within};
use crate::roles::faulty;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("protocol::what_a_worker_says_wrongly_is_named", wrong_words),
        test(
            "protocol::a_worker_of_another_version_is_refused",
            other_version,
        ),
        test("protocol::a_program_that_is_no_worker_is_named", no_worker),
        test(
            "protocol::a_worker_that_aborts_on_a_job_is_reported_after_the_second_time",
            aborts,
        ),
        test(
            "protocol::a_worker_that_ends_without_an_answer_is_gone",
            exits,
        ),
        test(
            "protocol::a_job_that_crashes_one_worker_is_made_by_the_next",
            aborts_once,
        ),
        test("protocol::a_worker_that_never_answers_is_killed", mute),
        test(
            "protocol::a_worker_that_hears_wrong_words_says_so_and_ends",
            wrong_pool,
        ),
    ]
}

fn pool(bench: &Bench, fault: &str) -> Pool {
    Pool::builder()
        .workers(2)
        .scratch(bench.path("scratch"))
        .worker(faulty(fault))
        .build()
        .expect("a pool")
}

fn echo(pool: &Pool, payload: &str) -> Result<planish_pool::Artefact, JobError> {
    pool.submit(Job::echo(payload, Duration::ZERO).named("echo"))
        .wait()
}

fn wrong_words() {
    let bench = Bench::new();
    for (fault, expected, got) in [
        ("garbage", "a frame", r"bytes that start with `\xa5\xa5"),
        (
            "damaged",
            "a frame whose checksum holds",
            "one whose checksum does not",
        ),
        (
            "truncated",
            "a whole frame",
            "25 bytes of one and then the end",
        ),
        (
            "oversized",
            "a payload of at most 67108864 bytes",
            "one of 4294967295 bytes",
        ),
        (
            "other-job",
            "an answer only to the job that was given",
            "a Done frame for job 999",
        ),
        (
            "returns",
            "the return of a payload that was lent",
            "a Returned frame for job 1",
        ),
        (
            "places",
            "a payload in the arena, where nothing else is",
            "100 bytes at 4096 for job 1: that was not lent",
        ),
        (
            "prints",
            "a frame",
            "bytes that start with `usage: something`",
        ),
    ] {
        let pool = pool(&bench, fault);
        let error = echo(&pool, "hello").expect_err("the protocol is broken");
        let JobError::Protocol {
            job,
            expected: told,
            got: was,
        } = &error
        else {
            panic!("{fault}: {error:?}")
        };
        assert_eq!((job.as_str(), told.as_str()), ("echo", expected), "{fault}");
        assert!(was.starts_with(got), "{fault}: {was}");
    }
    bench.assert_nothing_left();
}

fn other_version() {
    let bench = Bench::new();
    let error = echo(&pool(&bench, "other-version"), "hello").expect_err("another version");
    assert_eq!(
        error.to_string(),
        format!("finish `echo`: expected protocol version {VERSION}, got version 9")
    );
}

fn no_worker() {
    let bench = Bench::new();
    let error = echo(&pool(&bench, "complains"), "hello").expect_err("no worker");
    assert!(matches!(&error, JobError::Spawn { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .ends_with("exit code 5 before it said hello; it wrote:\ncannot be a worker today"),
        "{error}"
    );
    let pool = Pool::builder()
        .workers(2)
        .scratch(bench.path("scratch"))
        .worker_binary("/bin/true");
    let error = echo(&pool.build().expect("a pool"), "hello").expect_err("no worker");
    assert!(
        error
            .to_string()
            .contains("exit code 0 before it said hello"),
        "{error}"
    );
    bench.assert_nothing_left();
}

fn aborts() {
    let bench = Bench::new();
    for (fault, signal, code, words) in [
        ("aborts", Some(6), None, ""),
        ("panics", None, Some(101), "a bug in a handler"),
    ] {
        let pool = pool(&bench, fault);
        let error = echo(&pool, "hello").expect_err("crashed");
        let JobError::Crashed {
            process,
            signal: by,
            code: exit,
            remains,
            ..
        } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*process, *by, *exit), (Process::Worker, signal, code));
        assert!(remains.stderr.contains(words), "{remains:?}");
        assert_eq!((pool.stats().crashes, pool.stats().retried), (2, 1));
    }
}

fn exits() {
    let bench = Bench::new();
    let error = echo(&pool(&bench, "exits"), "hello").expect_err("gone");
    assert!(matches!(error, JobError::WorkerGone { .. }), "{error:?}");
}

fn aborts_once() {
    let bench = Bench::new();
    let pool = pool(&bench, "aborts-once");
    let marker = bench.path("marker").display().to_string();
    assert_eq!(
        &*echo(&pool, &marker)
            .expect("the second worker made it")
            .bytes,
        marker.as_bytes()
    );
    let stats = pool.stats();
    assert_eq!(
        (stats.crashes, stats.retried, stats.failed, stats.compiled),
        (1, 1, 0, 1)
    );
}

fn mute() {
    let bench = Bench::new();
    let pool = pool(&bench, "mute");
    let job = Job::echo("hello", Duration::ZERO)
        .named("echo")
        .limits(within(Duration::from_millis(100)));
    let error = pool.submit(job).wait().expect_err("no answer");
    assert!(matches!(error, JobError::OverLimit { .. }), "{error:?}");
    drop(pool);
    bench.assert_nothing_left();
}

/// A pool that speaks nonsense to a real worker.
fn wrong_pool() {
    let bench = Bench::new();
    let mut good = Vec::new();
    let hello = Frame::with(FrameKind::Hello, 0, &bench.hello()).expect("it encodes");
    hello.encode(&mut good).expect("it encodes");
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let mut order = good.clone();
    let order_frame = Frame::new(FrameKind::Job, 1, vec![0xff; 40]);
    order_frame.encode(&mut order).expect("it encodes");
    for (bytes, says) in [
        (vec![0xa5; 100], r"bytes that start with `\xa5"),
        (changed(4, &[9, 0]), "got version 9"),
        (changed(6, &[99, 0]), "got kind 99"),
        (
            changed(16, &u32::MAX.to_le_bytes()),
            "got one of 4294967295 bytes",
        ),
        (changed(20, &[0; 4]), "a frame whose checksum holds"),
        (good[..good.len() - 1].to_vec(), "of one and then the end"),
        (order, "expected an order in the payload"),
    ] {
        let (mut ours, theirs) = UnixStream::pair().expect("a socket pair");
        let worker = Command::new(bench.path("worker"))
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .expect("a worker");
        ours.write_all(&bytes).expect("write");
        ours.shutdown(Shutdown::Write).expect("shut down");
        let output = worker.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(says), "{says}: {said}");
    }
    bench.assert_nothing_left();
}
