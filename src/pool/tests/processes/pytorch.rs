//! What PyTorch 2.15's pool fails at, as far as no other file here has it; the table in `docs/pool.md` names the test for each row.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::{Job, JobError};

use crate::bench::{Bench, alive, kill, object, until, within};
use crate::test;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "pytorch::a_killed_worker_takes_neither_siblings_nor_waiting_jobs_with_it",
            killed_among_many,
        ),
        test(
            "pytorch::a_compilers_child_is_gone_after_shutdown",
            child_after_shutdown,
        ),
        test(
            "pytorch::a_compilers_child_is_gone_after_its_worker_is_killed",
            child_after_kill,
        ),
        test(
            "pytorch::there_are_never_more_workers_than_configured",
            never_more,
        ),
        test(
            "pytorch::a_pool_heals_when_its_worker_program_comes_back",
            heals,
        ),
        test(
            "pytorch::a_cancelled_job_dies_with_its_whole_tree",
            cancelled_tree,
        ),
    ]
}

fn killed_among_many() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let mut tickets = vec![pool.submit(bench.job("gate 1"))];
    bench.wait_for("gate", 1);
    let victim = bench.workers()[0];
    tickets.push(pool.submit(bench.job("gate 2")));
    bench.wait_for("gate", 2);
    tickets.extend((0..6).map(|number| pool.submit(bench.job(&format!("good {number}")))));
    kill(victim);
    bench.wait_for("gate", 3);
    fs::write(bench.path("open"), "").expect("write");
    for ticket in &tickets {
        assert_eq!(&*ticket.wait().expect("made").bytes, object());
    }
    let stats = pool.stats();
    assert_eq!((stats.crashes, stats.retried, stats.failed), (1, 1, 0));
    assert_eq!((bench.started("gate"), bench.started("good")), (3, 6));
    drop(pool);
    bench.assert_nothing_left();
}

fn child_after_shutdown() {
    for workers in [1, 2] {
        let bench = Bench::new();
        let pool = bench.pool(workers);
        let ticket = pool.submit(bench.job("hang"));
        let children = bench.wait_for("child", 1);
        drop(pool);
        assert!(matches!(ticket.wait(), Err(JobError::Closed { .. })));
        // Without workers nobody waits for what is not the host's child: it is killed, and dies when it is scheduled.
        until("the compiler's child to be gone", || !alive(children[0]));
        bench.assert_nothing_left();
    }
}

fn child_after_kill() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let ticket = pool.submit(bench.job("hang"));
    let children = bench.wait_for("child", 1);
    kill(bench.workers()[0]);
    until("the child to be gone", || !alive(children[0]));
    ticket.cancel();
    drop(pool);
    bench.assert_nothing_left();
}

fn never_more() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let busy = [
        pool.submit(bench.job("gate 1")),
        pool.submit(bench.job("gate 2")),
    ];
    bench.wait_for("gate", 2);
    for number in 0..20 {
        pool.submit(bench.job(&format!("good {number}")));
        pool.warm();
        assert!(bench.workers().len() <= 2);
        if number % 5 == 0 {
            let victim = bench.workers()[0];
            kill(victim);
            // While they are counted, it could go and the one in its place come.
            until("the worker to be gone", || !alive(victim));
            until("another worker", || {
                pool.warm();
                bench.workers().len() == 2
            });
        }
    }
    fs::write(bench.path("open"), "").expect("write");
    // Two deaths on one job are not excluded here.
    for ticket in busy {
        drop(ticket.wait());
    }
    drop(pool);
    bench.assert_nothing_left();
}

fn heals() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    pool.submit(bench.job("good 1")).wait().expect("made");
    let program = fs::read_link(bench.path("worker")).expect("a link");
    for round in 0..3 {
        fs::remove_file(bench.path("worker")).expect("remove");
        for worker in bench.workers() {
            kill(worker);
        }
        until("the workers to be gone", || bench.workers().is_empty());
        let error = pool.submit(bench.job(&format!("good in vain {round}")));
        let error = error.wait().expect_err("there is no worker");
        assert!(
            matches!(
                error,
                JobError::Spawn { .. } | JobError::Crashed { .. } | JobError::Scratch { .. }
            ),
            "{error:?}"
        );
        std::os::unix::fs::symlink(&program, bench.path("worker")).expect("link");
        pool.submit(bench.job(&format!("good again {round}")))
            .wait()
            .expect("the pool is usable again");
    }
    drop(pool);
    bench.assert_nothing_left();
}

fn cancelled_tree() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let ticket = pool.submit(bench.job("hang").limits(within(Duration::from_secs(600))));
    let compiler = bench.wait_for("hang", 1)[0];
    let child = bench.wait_for("child", 1)[0];
    ticket.cancel();
    assert!(matches!(ticket.wait(), Err(JobError::Cancelled { .. })));
    // The worker takes the next job when the tree is dead, and not before.
    let echo = [1, 2].map(|byte| pool.submit(Job::echo([byte], Duration::from_millis(1))));
    for ticket in echo {
        ticket.wait().expect("an echo");
    }
    until("compiler and child to be gone", || {
        !alive(compiler) && !alive(child)
    });
    drop(pool);
    bench.assert_nothing_left();
}
