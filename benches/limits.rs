//! What it costs to keep compilers within bounds: the sandbox beside none, how late a job dies that is over its
//! limit, how late one that is cancelled, and what it costs to try a kernel before it is used.
//!
//! `cargo bench --bench limits`. The program is its own worker. Medians and worst cases; runs with and without take
//! turns, so that their difference can be trusted on a busy machine.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use planish::kernels::{Contract, Conv2d, Isa, Kernel, KernelSpec, Linear};
use planish::selftest;
use planish_pool::{
    Job, JobError, Limits, Pool, Sandbox, Ticket, Toolchain, ToolchainSearch, WorkerCommand,
    enter_if_asked,
};

/// Pairs of runs.
const RUNS: usize = 60;
/// A compiler that does not end, and says who it is and whom it started.
const HANGS: &str = r#"#!/bin/sh
case "$1" in -dump*) echo 1; exit 0;; esac
sleep 1000 &
echo "$$ $!" > DIR/begun.new
mv DIR/begun.new DIR/begun
wait
"#;

fn main() -> ExitCode {
    if let Some(code) = enter_if_asked(&selftest::handlers()) {
        return code;
    }
    let search = ToolchainSearch::in_path("/usr/local/bin:/usr/bin:/bin");
    match Toolchain::find(&search) {
        Ok(toolchain) => {
            sandbox(&toolchain);
            proofs(&toolchain);
        }
        Err(error) => println!("sandbox: not measured, failed to {error}"),
    }
    let room = tempfile::tempdir().expect("a directory");
    let toolchain = hanging_compiler(room.path());
    over_limit(&toolchain);
    cancelled(&toolchain, room.path());
    ExitCode::SUCCESS
}

/// One small source, with the sandbox and without it.
fn sandbox(toolchain: &Toolchain) {
    let pools = [Sandbox::Off, Sandbox::BestEffort].map(pool);
    let confinement = pools[1].confinement().expect("it is tried");
    let mut times = [Vec::new(), Vec::new()];
    for run in 0..RUNS {
        for (pool, times) in pools.iter().zip(&mut times) {
            let source = format!("int run{run}(void) {{ return {run}; }}\n");
            let job = Job::cc(toolchain, source, ["-O1", "-nostartfiles"]);
            times.push(timed(|| {
                drop(pool.submit(job).wait().expect("it compiles"));
            }));
        }
    }
    let [off, on] = times;
    let mut differences: Vec<f64> = on
        .iter()
        .zip(&off)
        .map(|(on, off)| on.as_secs_f64() - off.as_secs_f64())
        .collect();
    differences.sort_by(f64::total_cmp);
    println!("a small compile job, {RUNS} pairs");
    line("without sandbox", off);
    line(&format!("with it ({confinement})"), on);
    println!(
        "  {:<52}{:>8.3} ms",
        "difference, median of pairs",
        differences[RUNS / 2] * 1e3
    );
}

/// Kernels of residual networks, small and large: compiled and tried, compiled alone, and the trial without its process.
fn proofs(toolchain: &Toolchain) {
    let conv = |inputs, outputs, size: usize| {
        KernelSpec::Conv2d(Conv2d::new(inputs, outputs, [size; 2]).padded([size / 2; 2]))
    };
    let linear = KernelSpec::Linear(Linear {
        inputs: 2048,
        outputs: 1000,
    });
    let pool = pool(Sandbox::BestEffort);
    println!("a kernel that is tried");
    for spec in [
        KernelSpec::Add,
        conv(64, 64, 3),
        conv(256, 1024, 1),
        conv(512, 512, 3),
        linear,
    ] {
        let kernel = Kernel::new(spec, Contract::Fbgemm, Isa::host()).expect("it makes sense");
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for run in 0..RUNS / 4 {
            let source = format!("/* {run} */\n{}", kernel.source());
            let plain = Job::cc(toolchain, source, kernel.flags());
            let claim = selftest::claim(&[kernel]);
            let tried = plain.clone().claiming(claim.clone());
            let mut object = None;
            times[0].push(timed(|| {
                drop(pool.submit(plain).wait().expect("it compiles"));
            }));
            times[1].push(timed(|| object = pool.submit(tried).wait().ok()));
            let object = object.expect("it is right");
            times[2].push(timed(|| {
                selftest::prove(&object.bytes, &claim).expect("it is right");
            }));
        }
        let [plain, tried, alone] = times;
        line(&format!("{spec}: compiled"), plain);
        line("    compiled and tried", tried);
        line("    the trial alone", alone);
    }
}

/// From a job's limit to its answer, which comes when its last process is dead.
fn over_limit(toolchain: &Toolchain) {
    let pool = pool(Sandbox::Off);
    let wall = Duration::from_millis(50);
    let late = (0..RUNS).map(|run| {
        let limits = Limits {
            wall: Some(wall),
            ..Limits::default()
        };
        let job = Job::cc(toolchain, format!("limit {run}"), ["-O1"]).limits(limits);
        let ticket = pool.submit(job);
        let error = ticket.wait().expect_err("it hangs");
        assert!(matches!(error, JobError::OverLimit { .. }), "{error}");
        answered(&ticket).saturating_sub(wall)
    });
    let late = late.collect();
    println!("a job over its limit of 50 ms, all of its processes dead and told");
    line("after the limit, the start of the job included", late);
}

/// From the cancel to the death of the compiler and of what it had started.
fn cancelled(toolchain: &Toolchain, room: &Path) {
    let pool = pool(Sandbox::Off);
    let begun = room.join("begun");
    let times = (0..RUNS).map(|run| {
        let _ = fs::remove_file(&begun);
        let ticket = pool.submit(Job::cc(toolchain, format!("cancel {run}"), ["-O1"]));
        while !begun.exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let processes: Vec<u32> = fs::read_to_string(&begun)
            .expect("its processes")
            .split_whitespace()
            .filter_map(|number| number.parse().ok())
            .collect();
        timed(|| {
            ticket.cancel();
            while processes.iter().any(|number| runs(*number)) {
                std::hint::spin_loop();
            }
        })
    });
    let times = times.collect();
    println!("a cancelled job");
    line("from the cancel to the death of its processes", times);
}

fn runs(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some(Some(state)) if !matches!(state, 'Z' | 'X'))
}

fn answered(ticket: &Ticket) -> Duration {
    let answered = ticket.answered().unwrap_or_else(Instant::now);
    answered.saturating_duration_since(ticket.submitted())
}

fn pool(sandbox: Sandbox) -> Pool {
    let pool = Pool::builder()
        .workers(2)
        .sandbox(sandbox)
        .worker(WorkerCommand::this_program().expect("this program's path"))
        .build()
        .expect("a pool");
    pool.submit(Job::echo(b"warm".to_vec(), Duration::ZERO))
        .wait()
        .expect("an echo");
    pool
}

fn hanging_compiler(room: &Path) -> Toolchain {
    let compiler = room.join("cc");
    let script = HANGS.replace("DIR", &room.display().to_string());
    fs::write(&compiler, script).expect("write");
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).expect("make it executable");
    Toolchain::find(&ToolchainSearch::explicit(compiler)).expect("it answers")
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn line(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let [median, worst] =
        [times.len() / 2, times.len() - 1].map(|at| times[at].as_secs_f64() * 1e3);
    println!("  {what:<52}{median:>8.3} ms   worst {worst:>8.3} ms");
}
