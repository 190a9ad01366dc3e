//! Answers what the pool costs, to a script that asks PyTorch's pool the same (`benches/peers/pool.py`), or to whoever types.
//!
//! `cargo bench --bench pool` reads requests, one a line, and answers each with a line of JSON (times in milliseconds unless they say
//! otherwise, medians). Everything with two workers, which are processes of this program.
//!
//! - `cold`: from nothing to the first result.
//! - `round`: round trip of an empty job, p50 and p99 in µs.
//! - `queued`: empty jobs a second when 10,000 are submitted at once, and processor time for each, in µs, of host and workers.
//! - `payload`: jobs a second with 1 MiB in, which the job looks at, and with 1 MiB in and a copy of it out.
//! - `idle`: private memory of an idle worker, in bytes.
//! - `killed`: two busy workers, six waiting jobs, one worker is killed: until there are two workers again that take jobs, and jobs lost.
//! - `orphans`: processes left 50 ms after a host with two running compilers was killed, the most of ten times.
//! - `shutdown`: idle, and with two running compilers.
//! - `limit`: from a job's limit to its answer, which comes when its processes are dead.
//! - `kernels N`: N int8 convolutions from an empty cache to loaded, joined and tried as those of a module are, and again from the cache.
//! - `overhead`: one run of the compiler alone and as a job, and what of a job the sandbox takes (the differences of neighbours' times).

#![expect(clippy::print_stdout, reason = "its answers are what it is for")]

use std::error::Error;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use planish::kernels::{Contract, Conv2d, Isa, Kernel, KernelSpec, Unit};
use planish::pool::{
    Builder, Job, Limits, Pool, Sandbox, Ticket, Toolchain, ToolchainSearch, WorkerCommand,
    enter_if_asked,
};
use planish::runtime::Library;
use planish::selftest;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// As in the program that users run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Answer = Result<Value, Box<dyn Error>>;

const WORKERS: usize = 2;
/// A task that takes bytes, sees that they are there, and gives none.
const TAKE: &str = "take";
/// A task that gives a copy of what it takes.
const COPY: &str = "copy";
/// The argument of a host that keeps compilers running until it is killed.
const HOST: &str = "--host";

fn main() -> ExitCode {
    let handlers = selftest::handlers()
        .with_task(TAKE, |bytes, _| take(bytes))
        .with_task(COPY, |bytes, _| Ok(bytes.to_vec()));
    if let Some(code) = enter_if_asked(&handlers) {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match &arguments[..] {
        [host, folder] if host == HOST => keep_busy(Path::new(folder)),
        _ => answer_all(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", json!({ "error": error.to_string() }));
            ExitCode::FAILURE
        }
    }
}

fn answer_all() -> Result<(), Box<dyn Error>> {
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&line?)?);
    }
    Ok(())
}

fn answer(request: &str) -> Answer {
    match request.split_once(' ').unwrap_or((request, "")) {
        ("cold", _) => cold(),
        ("round", _) => round(),
        ("queued", _) => queued(),
        ("payload", _) => payload(),
        ("idle", _) => idle(),
        ("killed", _) => killed(),
        ("orphans", _) => orphans(),
        ("shutdown", _) => shutdown(),
        ("limit", _) => limit(),
        ("kernels", count) => kernels(count.parse()?),
        ("overhead", _) => overhead(),
        _ => Err(format!("answer {request:?}: there is no such question").into()),
    }
}

fn cold() -> Answer {
    let mut times = Vec::new();
    for number in 0..20 {
        let start = Instant::now();
        let pool = builder()?.build()?;
        pool.submit(echo(number)).wait()?;
        times.push(start.elapsed());
    }
    Ok(json!({ "ms": millis(at(&mut times, 0.5)) }))
}

fn round() -> Answer {
    let pool = warmed(builder()?)?;
    let mut times = Vec::new();
    for number in 0..5_000 {
        let start = Instant::now();
        pool.submit(echo(number)).wait()?;
        times.push(start.elapsed());
    }
    Ok(json!({ "p50_us": micros(at(&mut times, 0.5)), "p99_us": micros(at(&mut times, 0.99)) }))
}

fn queued() -> Answer {
    const JOBS: u64 = 10_000;
    let pool = warmed(builder()?)?;
    let jobs = |round: u64| (round * JOBS..(round + 1) * JOBS).map(echo).collect();
    let (rate, cpu) = throughput(&pool, jobs)?;
    Ok(json!({ "jobs_per_s": rate, "cpu_us_per_job": cpu }))
}

fn payload() -> Answer {
    let pool = warmed(builder()?)?;
    let jobs = |job: fn(Vec<u8>) -> Job| {
        move |_| (0..100).map(|number| job(vec![number; 1 << 20])).collect()
    };
    let (one_way, one_way_cpu) = throughput(&pool, jobs(|bytes| Job::task(TAKE, bytes)))?;
    let (both, both_cpu) = throughput(&pool, jobs(|bytes| Job::task(COPY, bytes)))?;
    Ok(json!({
        "in_jobs_per_s": one_way,
        "in_cpu_us_per_job": one_way_cpu,
        "both_jobs_per_s": both,
        "both_cpu_us_per_job": both_cpu,
    }))
}

/// Looks at every line of the processor's cache: wherever the bytes are, a job that uses them has to fetch them from there.
fn take(bytes: &[u8]) -> Result<Vec<u8>, String> {
    const LINE: usize = 64;
    let first = bytes.first().ok_or("take no bytes")?;
    match bytes.chunks(LINE).position(|line| line[0] != *first) {
        None if bytes.len() == 1 << 20 => Ok(Vec::new()),
        None => Err(format!("take 1 MiB: there are {} bytes", bytes.len())),
        Some(line) => Err(format!(
            "take bytes that are all {first}: others at {}",
            line * LINE
        )),
    }
}

/// Jobs a second when all are submitted at once, and processor time for each, in µs, of this process and its workers; medians of a
/// few rounds.
fn throughput(pool: &Pool, jobs: impl Fn(u64) -> Vec<Job>) -> Result<(f64, f64), Box<dyn Error>> {
    let own = [std::process::id()];
    let all: Vec<u32> = own.into_iter().chain(descendants(own[0])).collect();
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for round in 0..7 {
        let jobs = jobs(round);
        let count = jobs.len() as f64;
        let (before, start) = (ran(&all)?, Instant::now());
        let tickets: Vec<Ticket> = jobs.into_iter().map(|job| pool.submit(job)).collect();
        for ticket in tickets {
            ticket.wait()?;
        }
        rates.push(count / start.elapsed().as_secs_f64());
        costs.push((ran(&all)? - before) / count / 1e3);
    }
    rates.sort_by(f64::total_cmp);
    costs.sort_by(f64::total_cmp);
    Ok((rates[3], costs[3]))
}

fn idle() -> Answer {
    let pool = warmed(builder()?)?;
    pool.submit(echo(1)).wait()?;
    let mut most = 0;
    for worker in children(std::process::id()) {
        let rollup = std::fs::read_to_string(format!("/proc/{worker}/smaps_rollup"))?;
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        let kibibytes =
            private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        most = most.max(kibibytes.sum::<u64>() * 1024);
    }
    Ok(json!({ "bytes": most }))
}

fn killed() -> Answer {
    let mut times = Vec::new();
    let mut lost = 0;
    for _ in 0..15 {
        let pool = warmed(builder()?)?;
        let hold = |number: u8, time| Job::echo([number], time);
        let busy = Duration::from_millis(300);
        let mut tickets: Vec<Ticket> = (0..2).map(|n| pool.submit(hold(n, busy))).collect();
        tickets.extend((2..8).map(|number| pool.submit(hold(number, Duration::from_millis(1)))));
        std::thread::sleep(Duration::from_millis(20));
        let worker = children(std::process::id())[0];
        let start = Instant::now();
        kill(worker)?;
        // A worker is not counted as ready any more before its death is.
        while pool.stats().crashes == 0 {
            std::thread::yield_now();
        }
        pool.wait_ready(Duration::from_secs(10));
        times.push(start.elapsed());
        lost += tickets
            .iter()
            .filter(|ticket| ticket.wait().is_err())
            .count();
    }
    Ok(json!({ "ms": millis(at(&mut times, 0.5)), "lost": lost }))
}

fn orphans() -> Answer {
    let (mut before, mut left) = (usize::MAX, 0);
    for _ in 0..10 {
        let folder = tempfile::tempdir()?;
        let mut host = busy_host(folder.path())?;
        let all = descendants(host.id());
        host.kill()?;
        std::thread::sleep(Duration::from_millis(50));
        before = before.min(all.len());
        left = left.max(all.iter().filter(|pid| is_alive(**pid)).count());
        host.wait()?;
    }
    Ok(json!({ "processes_before": before, "processes_left": left }))
}

fn shutdown() -> Answer {
    let (mut idle, mut busy) = (Vec::new(), Vec::new());
    let folder = tempfile::tempdir()?;
    let toolchain = hanging_compiler(folder.path())?;
    for _ in 0..15 {
        let pool = warmed(builder()?)?;
        pool.submit(echo(1)).wait()?;
        let start = Instant::now();
        drop(pool);
        idle.push(start.elapsed());
        let pool = warmed(builder()?)?;
        let _running = hang(&pool, &toolchain);
        let start = Instant::now();
        drop(pool);
        busy.push(start.elapsed());
    }
    Ok(json!({ "idle_ms": millis(at(&mut idle, 0.5)), "busy_ms": millis(at(&mut busy, 0.5)) }))
}

fn limit() -> Answer {
    let folder = tempfile::tempdir()?;
    let toolchain = hanging_compiler(folder.path())?;
    let pool = warmed(builder()?)?;
    let wall = Duration::from_millis(200);
    let mut late = Vec::new();
    for number in 0..15 {
        let limits = Limits {
            wall: Some(wall),
            ..Limits::default()
        };
        let job = Job::cc(&toolchain, format!("{number}"), [""; 0]).limits(limits);
        let start = Instant::now();
        if pool.submit(job).wait().is_ok() {
            return Err("end a job at its limit: it has a result".into());
        }
        late.push(start.elapsed().saturating_sub(wall));
    }
    Ok(json!({ "late_ms": millis(at(&mut late, 0.5)), "worst_ms": millis(at(&mut late, 1.0)) }))
}

fn kernels(count: usize) -> Answer {
    let toolchain = Toolchain::find(&ToolchainSearch::in_path(path()))?;
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let folder = tempfile::tempdir()?;
        cold.push(load_kernels(count, &toolchain, folder.path())?);
        warm.push(load_kernels(count, &toolchain, folder.path())?);
    }
    Ok(json!({ "cold_ms": millis(at(&mut cold, 0.5)), "warm_ms": millis(at(&mut warm, 0.5)) }))
}

/// From nothing to loaded kernels, in the way in which a module that is finalized gets its own: joined, and tried before they are kept.
fn load_kernels(
    count: usize,
    toolchain: &Toolchain,
    cache: &Path,
) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let pool = builder()?.cache(cache.join("cache")).build()?;
    let kernels = (0..count).map(|number| {
        // Layers of a network: 3 × 3 and 1 × 1, each of other channels.
        let (inputs, outputs) = (16 * (1 + number / 2), 64 * (1 + number % 4));
        let spec = if number.is_multiple_of(2) {
            Conv2d::new(inputs, outputs, [3, 3]).padded([1, 1])
        } else {
            Conv2d::new(inputs, outputs, [1, 1])
        };
        Kernel::new(KernelSpec::Conv2d(spec), Contract::Fbgemm, Isa::host())
    });
    let kernels: Vec<Kernel> = kernels.collect::<Result<_, _>>()?;
    let units = Unit::join(&kernels).into_iter().map(|unit| {
        let job = Job::cc(toolchain, unit.source(), unit.flags());
        let ticket = pool.submit(job.claiming(selftest::claim(unit.kernels())));
        (unit, ticket)
    });
    let units: Vec<(Unit, Ticket)> = units.collect();
    let mut loaded = Vec::new();
    for (unit, ticket) in units {
        let artefact = ticket.wait()?;
        let digest = (*artefact.digest().as_bytes()).into();
        let library = Library::load(&artefact.bytes, &digest, unit.kernels())?;
        for kernel in unit.kernels() {
            loaded.push(library.entry(*kernel)?);
        }
    }
    Ok(start.elapsed())
}

fn overhead() -> Answer {
    const SOURCE: &str = "int seven(void) { return 7; }\n";
    let toolchain = Toolchain::find(&ToolchainSearch::in_path(path()))?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("kernel.c"), SOURCE)?;
    let (pool, open) = (
        warmed(builder()?)?,
        warmed(builder()?.sandbox(Sandbox::Off))?,
    );
    let flags = ["-O2", "-nostartfiles"];
    let run = |pool: &Pool, number: usize| -> Result<Duration, Box<dyn Error>> {
        let job = Job::cc(&toolchain, format!("/* {number} */ {SOURCE}"), flags);
        let start = Instant::now();
        pool.submit(job).wait()?;
        Ok(start.elapsed())
    };
    let (mut alone, mut pooled, mut sandbox) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..25 {
        let start = Instant::now();
        let status = Command::new(toolchain.compiler())
            .args(["-shared", "-fPIC", "-o", "kernel.so", "kernel.c"])
            .args(flags)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .status()?;
        alone.push(start.elapsed());
        if !status.success() {
            return Err(format!("compile {SOURCE:?}: {status}").into());
        }
        let (confined, free) = (run(&pool, number)?, run(&open, number)?);
        pooled.push(confined);
        sandbox.push(confined.as_secs_f64() * 1e3 - free.as_secs_f64() * 1e3);
    }
    sandbox.sort_by(f64::total_cmp);
    Ok(json!({
        "alone_ms": millis(at(&mut alone, 0.5)),
        "pooled_ms": millis(at(&mut pooled, 0.5)),
        "sandbox_ms": sandbox[sandbox.len() / 2],
    }))
}

fn builder() -> Result<Builder, Box<dyn Error>> {
    Ok(Pool::builder()
        .workers(WORKERS)
        .worker(WorkerCommand::this_program()?))
}

fn warmed(builder: Builder) -> Result<Pool, Box<dyn Error>> {
    let pool = builder.build()?;
    pool.warm();
    if !pool.wait_ready(Duration::from_secs(20)) {
        return Err("start the workers".into());
    }
    Ok(pool)
}

/// Distinct jobs: identical ones would share one run.
fn echo(number: u64) -> Job {
    Job::echo(number.to_le_bytes(), Duration::ZERO)
}

/// A compiler that starts a program which does not end, and waits for it.
fn hanging_compiler(folder: &Path) -> Result<Toolchain, Box<dyn Error>> {
    let path = folder.join("cc");
    let script = "#!/bin/sh\ncase \"$1\" in -dump*) echo 1; exit 0 ;; esac\nsleep 1000 &\nwait\n";
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(Toolchain::find(&ToolchainSearch::explicit(path))?)
}

/// Gives every worker a job that does not end, and waits until its compiler runs.
fn hang(pool: &Pool, toolchain: &Toolchain) -> Vec<Ticket> {
    let jobs = (0..WORKERS).map(|number| Job::cc(toolchain, format!("{number}"), [""; 0]));
    let tickets = jobs.map(|job| pool.submit(job)).collect();
    wait_for_compilers(std::process::id());
    tickets
}

fn busy_host(folder: &Path) -> Result<Child, Box<dyn Error>> {
    let host = Command::new(std::env::current_exe()?)
        .arg(HOST)
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()?;
    wait_for_compilers(host.id());
    Ok(host)
}

/// Waits until each worker below this process has a compiler that has started its program.
fn wait_for_compilers(host: u32) {
    let is_started = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    while descendants(host)
        .iter()
        .filter(|pid| is_started(pid))
        .count()
        < WORKERS
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn keep_busy(folder: &Path) -> Result<(), Box<dyn Error>> {
    let toolchain = hanging_compiler(folder)?;
    let pool = warmed(builder()?)?;
    for ticket in hang(&pool, &toolchain) {
        ticket.wait()?;
    }
    Ok(())
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Not by a program that sends it: starting that takes a millisecond.
fn kill(pid: u32) -> Result<(), Box<dyn Error>> {
    let pid = Pid::from_raw(pid.try_into()?).ok_or("kill a process whose number is 0")?;
    Ok(kill_process(pid, Signal::KILL)?)
}

/// Nanoseconds that processes have run, all their threads together.
fn ran(pids: &[u32]) -> Result<f64, Box<dyn Error>> {
    let mut sum = 0.0;
    for pid in pids {
        for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            sum += text.split(' ').next().unwrap_or("").parse::<f64>()?;
        }
    }
    Ok(sum)
}

fn descendants(pid: u32) -> Vec<u32> {
    let children = children(pid);
    let below = children.iter().flat_map(|child| descendants(*child));
    children.iter().copied().chain(below).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

/// Whether a process runs. One that has ended and was not reaped does not.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The time below which this part of all times lies.
fn at(times: &mut [Duration], part: f64) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * part) as usize)
        .copied()
        .unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
