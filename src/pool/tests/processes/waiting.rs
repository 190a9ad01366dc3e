//! Who waits hears the workers itself: nobody misses an answer by it, and nobody who waits long uses a processor.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::{Artefact, Job, JobError, Pool, Ticket};
use rustix::process::{Pid, Signal};

use crate::bench::{Bench, PATIENCE};
use crate::test;

/// Far more than looking for something in vain costs, far less than looking for it all the time.
const LITTLE: Duration = Duration::from_millis(200);
/// How long nothing happens.
const LONG: Duration = Duration::from_secs(1);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "waiting::every_way_of_waiting_hears_of_every_job_while_workers_die",
            every_way,
        ),
        test(
            "waiting::who_waits_long_uses_no_processor",
            no_processor_is_used,
        ),
        test(
            "waiting::an_answer_that_nobody_waits_for_is_told_all_the_same",
            nobody_waits,
        ),
    ]
}

type Way = fn(&Ticket) -> Result<Artefact, JobError>;

fn every_way() {
    const WAYS: [Way; 5] = [Ticket::wait, timed, polled, awaited, told];
    const JOBS: u64 = 400;
    let bench = Bench::new();
    let pool = bench.pool(3);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (bench, pool, done) = (&bench, &pool, &done);
        let threads =
            WAYS.map(|way| scope.spawn(move || (0..JOBS).for_each(|at| ask(pool, at, way))));
        scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
                // It may be gone by now.
                if let Some(worker) = bench.workers().first().copied().and_then(Pid::from_raw) {
                    let _ = rustix::process::kill_process(worker, Signal::KILL);
                }
            }
        });
        let ended = threads.map(|thread| thread.join().is_ok());
        done.store(true, Ordering::SeqCst);
        assert_eq!(ended, [true; WAYS.len()]);
    });
    drop(pool);
    bench.assert_nothing_left();
}

/// One to three jobs at once, for some of which nobody waits.
fn ask(pool: &Pool, at: u64, way: Way) {
    let job = |number: u64| Job::echo(number.to_le_bytes(), Duration::from_millis(number % 3));
    let forgotten = (0..at % 3).map(|number| pool.submit(job(number)));
    forgotten.for_each(|ticket| {
        if at.is_multiple_of(5) {
            ticket.cancel();
        }
    });
    match way(&pool.submit(job(at))) {
        Ok(artefact) => assert_eq!(artefact.bytes, at.to_le_bytes().as_slice()),
        // Two workers were killed under it, or three before they could say hello.
        Err(JobError::Crashed { .. } | JobError::WorkerGone { .. } | JobError::Spawn { .. }) => {}
        Err(error) => panic!("failed to {error}"),
    }
}

fn timed(ticket: &Ticket) -> Result<Artefact, JobError> {
    // Short, so that many end without an answer.
    while ticket.wait_timeout(Duration::from_micros(30)).is_none() {}
    ticket
        .wait_timeout(Duration::ZERO)
        .expect("it stays answered")
}

fn polled(ticket: &Ticket) -> Result<Artefact, JobError> {
    loop {
        if let Some(result) = ticket.try_get() {
            return result;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn awaited(ticket: &Ticket) -> Result<Artefact, JobError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(ticket.clone());
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park_timeout(PATIENCE),
        }
    }
}

fn told(ticket: &Ticket) -> Result<Artefact, JobError> {
    let (tell, hear) = channel();
    ticket.on_answer(move |result| tell.send(result.clone()).expect("it is heard"));
    hear.recv_timeout(PATIENCE).expect("an answer")
}

fn no_processor_is_used() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let echo = |hold| pool.submit(Job::echo([1], hold)).wait().expect("an answer");
    for _ in 0..100 {
        echo(Duration::ZERO);
    }
    let before = spent("thread-self");
    echo(LONG);
    let waiting = spent("thread-self").saturating_sub(before);
    assert!(waiting < LITTLE, "a thread that waits: {waiting:?}");
    let all = || {
        bench
            .workers()
            .iter()
            .map(|pid| spent(&pid.to_string()))
            .sum::<Duration>()
    };
    let before = all();
    std::thread::sleep(LONG);
    let resting = all().saturating_sub(before);
    assert!(resting < LITTLE, "workers that rest: {resting:?}");
    drop(pool);
    bench.assert_nothing_left();
}

fn nobody_waits() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let (tell, hear) = channel();
    for number in 0..200_u8 {
        // Just before, somebody has heard the workers and stopped.
        pool.submit(Job::echo([number], Duration::ZERO))
            .wait()
            .expect("an answer");
        let tell = tell.clone();
        let ticket = pool.submit(Job::echo([number, number], Duration::ZERO));
        ticket.on_answer(move |result| tell.send(result.clone()).expect("it is heard"));
        let told = hear
            .recv_timeout(PATIENCE)
            .expect("an answer")
            .expect("bytes");
        assert_eq!(told.bytes, [number, number].as_slice());
    }
    drop(pool);
    bench.assert_nothing_left();
}

/// The time that a thread has run.
fn spent(thread: &str) -> Duration {
    let path = format!("/proc/{thread}/schedstat");
    let text = std::fs::read_to_string(path).expect("a running thread");
    let ran = text.split(' ').next().and_then(|ran| ran.parse().ok());
    Duration::from_nanos(ran.expect("nanoseconds"))
}
