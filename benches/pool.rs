//! What the pool costs: first result from nothing, round trip of an empty job, throughput, and what
//! it adds to one run of the compiler. Medians; the same machine and the same process for all, so
//! that ratios can be trusted where absolutes cannot.
//!
//! `cargo bench --bench pool`. The program is its own worker.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use planish_pool::{
    Handlers, Job, Pool, Toolchain, ToolchainSearch, WorkerCommand, enter_if_asked,
};

const SOURCE: &str = "int seven(void) { return 7; }\n";

fn main() -> ExitCode {
    if let Some(code) = enter_if_asked(&Handlers::standard()) {
        return code;
    }
    for workers in [1, 2] {
        let how = if workers == 1 {
            "inline"
        } else {
            "2 worker processes"
        };
        println!("{how}");
        line(
            "build to first result",
            median(20, |number| first_result(workers, number)),
        );
        let pool = pool(workers);
        pool.warm();
        pool.submit(echo(u64::MAX, 0)).wait().expect("an echo");
        line(
            "round trip of an empty job",
            median(2_000, |number| round_trip(&pool, number, 0)),
        );
        line(
            "round trip of 1 MiB both ways",
            median(50, |number| round_trip(&pool, number, 1 << 20)),
        );
        let start = Instant::now();
        let tickets: Vec<_> = (0..10_000)
            .map(|number| pool.submit(echo(number, 0)))
            .collect();
        for ticket in &tickets {
            drop(ticket.wait().expect("an echo"));
        }
        println!(
            "  {:<34}{:>10.0} jobs/s",
            "10000 empty jobs at once",
            10_000.0 / start.elapsed().as_secs_f64()
        );
        line("shutdown, idle", timed(|| drop(pool)));
        if let Ok(toolchain) =
            Toolchain::find(&ToolchainSearch::in_path("/usr/local/bin:/usr/bin:/bin"))
        {
            compiler(workers, &toolchain);
        }
    }
    ExitCode::SUCCESS
}

fn pool(workers: usize) -> Pool {
    let command = WorkerCommand::this_program().expect("this program's path");
    Pool::builder()
        .workers(workers)
        .worker(command)
        .build()
        .expect("a pool")
}

/// Distinct jobs: identical ones would share one run.
fn echo(number: u64, length: usize) -> Job {
    let mut payload = vec![0; length.max(8)];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    Job::echo(payload, Duration::ZERO)
}

fn first_result(workers: usize, number: u64) -> Duration {
    let mut pools = None;
    let time = timed(|| {
        let pool = pool(workers);
        pool.submit(echo(number, 0)).wait().expect("an echo");
        pools = Some(pool);
    });
    drop(pools);
    time
}

fn round_trip(pool: &Pool, number: u64, length: usize) -> Duration {
    let job = echo(number, length);
    timed(|| drop(pool.submit(job).wait().expect("an echo")))
}

/// One small source through the pool, and by the same command without it.
fn compiler(workers: usize, toolchain: &Toolchain) {
    let pool = pool(workers);
    let flags = ["-O2", "-nostartfiles"];
    let mut alone = Vec::new();
    let mut pooled = Vec::new();
    let directory = std::env::temp_dir().join(format!("planish-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("kernel.c"), SOURCE).expect("a source");
    for number in 0..15 {
        alone.push(timed(|| {
            let status = Command::new(toolchain.compiler())
                .args(["-shared", "-fPIC", "-o", "kernel.so", "kernel.c"])
                .args(flags)
                .current_dir(&directory)
                .stdin(Stdio::null())
                .status();
            assert!(status.is_ok_and(|status| status.success()));
        }));
        let job = Job::cc(toolchain, format!("/* {number} */ {SOURCE}"), flags);
        pooled.push(timed(|| {
            drop(pool.submit(job).wait().expect("it compiles"));
        }));
    }
    std::fs::remove_dir_all(&directory).expect("remove the directory");
    line("the compiler alone", middle(alone));
    line("the same through the pool", middle(pooled));
}

fn median(count: u64, mut run: impl FnMut(u64) -> Duration) -> Duration {
    middle((0..count).map(&mut run).collect())
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn line(what: &str, time: Duration) {
    println!("  {what:<34}{:>10.1} µs", time.as_secs_f64() * 1e6);
}
