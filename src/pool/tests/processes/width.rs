//! How many jobs run, and how many are taken in.

use std::fs;
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::Jobserver;

use crate::bench::Bench;
use crate::test;

/// Long enough for another compiler to have been started.
const A_WHILE: Duration = Duration::from_millis(400);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test(
            "width::two_pools_share_the_tokens_of_a_jobserver",
            shared_tokens,
        ),
        test("width::who_brings_too_much_is_told_or_waits", full),
    ]
}

fn shared_tokens() {
    let bench = Bench::new();
    let server = Jobserver::serve(&bench.path(""), 2).expect("it serves");
    let flags = server.makeflags().expect("they name it");
    let pools = [0, 1].map(|_| {
        let client = Jobserver::of(&flags).expect("it is there");
        let builder = bench.builder(4).jobserver(client);
        builder.build().expect("a pool")
    });
    let jobs = (0..8).map(|number| bench.job(&format!("gate {number}")));
    let tickets: Vec<_> = jobs
        .enumerate()
        .map(|(number, job)| pools[number % 2].submit(job))
        .collect();
    // Each pool may run one, and there is one token.
    bench.wait_for("gate", 3);
    std::thread::sleep(A_WHILE);
    assert_eq!(bench.started("gate"), 3);
    fs::write(bench.path("open"), "").expect("write");
    for ticket in tickets {
        ticket.wait().expect("made");
    }
    drop(pools);
    // Every token came back.
    drop(server);
    bench.assert_nothing_left();
}

fn full() {
    let bench = Bench::new();
    let pool = bench.builder(2).queue(2).build().expect("a pool");
    let first = [1, 2].map(|number| pool.submit(bench.job(&format!("gate {number}"))));
    let job = pool.try_submit(bench.job("good")).expect_err("it is full");
    assert_eq!(job.name(), "good");
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| pool.submit(bench.job("good")).wait());
        std::thread::sleep(A_WHILE);
        assert!(!waits.is_finished() && pool.stats().requested == 2);
        fs::write(bench.path("open"), "").expect("write");
        waits.join().expect("no panic").expect("made");
    });
    for ticket in first {
        ticket.wait().expect("made");
    }
    drop(pool);
    bench.assert_nothing_left();
}
