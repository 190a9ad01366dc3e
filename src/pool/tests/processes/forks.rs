//! Workers that are copies of one process.

use std::io::Write;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use planish_pool::{Job, Start};

use crate::bench::{Bench, PATIENCE, alive, begun, kill, until};
use crate::tasks::tasking;
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("forks::copies_work_as_workers_do", copies),
        test(
            "forks::a_killed_copy_is_replaced_and_a_killed_server_too",
            killed,
        ),
        test(
            "forks::a_server_that_cannot_be_copied_is_done_without",
            without,
        ),
        test("forks::what_both_kinds_of_start_cost", cost),
    ]
}

/// What runs the worker program under the server's verb: the server and its copies.
fn family(bench: &Bench) -> Vec<i32> {
    bench.processes_with(&["fork-server"])
}

fn copies() {
    let bench = Bench::new();
    let pool = bench.builder(2).start(Start::Fork).build().expect("a pool");
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    assert_eq!((family(&bench).len(), bench.workers().len()), (3, 0));
    for word in ["good", "orphan", "daemon"] {
        pool.submit(bench.job(word)).wait().expect("it is made");
    }
    let error = pool
        .submit(bench.job("segv"))
        .wait()
        .expect_err("it crashes");
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    // A daemon may be gone before it has told of itself.
    let known = bench.noted("child").len();
    let hangs = pool.submit(bench.job("hang"));
    bench.wait_for("child", known + 1);
    drop(pool);
    assert!(hangs.wait().is_err());
    bench.assert_nothing_left();
}

fn killed() {
    let bench = Bench::new();
    let pool = bench
        .builder(1)
        .in_a_process()
        .start(Start::Fork)
        .build()
        .expect("a pool");
    let echo = |text: &str| {
        pool.submit(Job::echo(text, Duration::ZERO))
            .wait()
            .expect("an echo")
    };
    echo("first");
    let mut before = family(&bench);
    // A copy is younger than the server; numbers alone begin anew after the last one.
    before.sort_unstable_by_key(|pid| (begun(*pid), *pid));
    let [server, copy] = before[..] else {
        panic!("{before:?}");
    };
    kill(copy);
    until("the copy to be gone", || !alive(copy));
    echo("second");
    assert!(family(&bench).contains(&server));
    kill(server);
    for copy in family(&bench).into_iter().filter(|pid| *pid != server) {
        kill(copy);
        until("the copy to be gone", || !alive(copy));
    }
    until("the server to be gone", || !alive(server));
    // One is started afresh, and the next one is copied again.
    echo("third");
    let afresh = bench.workers();
    assert_eq!(afresh.len(), 1);
    kill(afresh[0]);
    until("the worker to be gone", || !alive(afresh[0]));
    echo("fourth");
    assert_eq!((family(&bench).len(), bench.workers().len()), (2, 0));
    drop(pool);
    bench.assert_nothing_left();
}

fn without() {
    let bench = Bench::new();
    let script = "#!/bin/sh\ncase \"$1\" in fork-server) exit 3 ;; esac\nexec DIR/worker \"$@\"\n";
    let command = planish_pool::WorkerCommand::binary(bench.script("worker.sh", script));
    let pool = bench
        .builder(2)
        .worker(command)
        .start(Start::Fork)
        .build()
        .expect("a pool");
    pool.warm();
    assert!(pool.wait_ready(PATIENCE));
    assert_eq!(bench.workers().len(), 2);
    pool.submit(bench.job("good")).wait().expect("it is made");
    drop(pool);
    bench.assert_nothing_left();
}

/// Memory that a process shares with nobody, in KiB.
fn private(process: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
    let rollup = rollup.expect("the kernel tells");
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    let sizes = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    sizes.sum()
}

/// Says what a start costs; that both are far from what a hang would be is all that is asserted.
fn cost() {
    let bench = Bench::new();
    for start in [Start::Spawn, Start::Fork] {
        let pool = tasking(&bench, 1).start(start).build().expect("a pool");
        pool.submit(Job::echo("", Duration::ZERO))
            .wait()
            .expect("an echo");
        let mut times: Vec<Duration> = Vec::new();
        for number in 0..15_u8 {
            pool.quiesce();
            until("the worker to be gone", || pool.ready() == 0);
            let began = Instant::now();
            pool.submit(Job::echo([number], Duration::ZERO))
                .wait()
                .expect("an echo");
            times.push(began.elapsed());
        }
        times.sort();
        let middle = times[times.len() / 2];
        let asked = pool.submit(Job::task("who", "")).wait();
        let process = String::from_utf8_lossy(&asked.expect("it is done").bytes).into_owned();
        let _ = writeln!(
            std::io::stderr(),
            "{start:?}: {middle:?} from a submit to its answer with a worker's start, {} KiB private",
            private(&process)
        );
        assert!(middle < PATIENCE / 50);
    }
}
