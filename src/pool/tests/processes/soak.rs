//! Many jobs, and every fifty of them a fault: a worker killed or stopped, a disk that is full, a torn cache entry, a compiler that
//! hangs.
//!
//! Counted at the end: tickets without the answer that they should have (lost), jobs made again whose result was in the cache
//! (duplicated), processes, descriptors, threads, locks and temporary files that are left (leaked). The short one is a test; the long one is
//!
//! ```text
//! cargo test --release -p planish-pool --test processes -- --ignored --nocapture soak
//! ```
//!
//! `PLANISH_SOAK_SEED` repeats one. The program runs itself in a mount namespace with two small disks of its own. Where that is
//! not allowed, the disks are never full, and it says so.

#![expect(clippy::print_stdout, reason = "the soak tells its seed and its count")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;
use planish_pool::{
    Artefact, Job, JobError, JobKey, Pool, Sandbox, Ticket, Toolchain, ToolchainSearch,
};
use rustix::process::{Pid, Signal};

use crate::bench::{Bench, PATIENCE, files, object, within};
use crate::roles::SOAK;
use crate::test;

const WORKERS: usize = 4;
/// Jobs from one fault to the next.
const CALM: u64 = 50;
/// Jobs under way at once.
const WINDOW: usize = 96;
/// Jobs that are submitted while a disk is full.
const FULL: u64 = 20;
/// The limit of jobs that end by themselves: ample for them, and not long to wait for a stopped worker.
const AMPLE: Duration = Duration::from_secs(3);
/// Between two looks at what is under way. Who was kept from looking for so long says nothing about the time that others took.
const STILL: Duration = Duration::from_secs(1);
/// The limit of those that do not.
const SHORT: Duration = Duration::from_millis(150);

pub(crate) fn tests() -> Vec<Trial> {
    let long = test("soak::twenty_thousand_jobs_and_four_hundred_faults", || {
        soak(20_000);
    });
    vec![
        test("soak::a_thousand_jobs_and_twenty_faults", || soak(1_000)),
        long.with_ignored_flag(true),
    ]
}

fn soak(jobs: u64) {
    let bench = Bench::new();
    bench.script("cc", SCRIPT);
    fs::create_dir(bench.path("cache")).expect("create");
    let seed = std::env::var("PLANISH_SOAK_SEED").ok().map_or_else(
        || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |now| now.as_nanos() as u64 & 0xffff_ffff)
        },
        |seed| seed.parse().expect("PLANISH_SOAK_SEED is a number"),
    );
    println!("soak of {jobs} jobs on {WORKERS} workers, seed {seed}");
    let mut command = on_small_disks(&bench);
    let output = command
        .args([SOAK, &bench.path("").display().to_string()])
        .args([jobs.to_string(), seed.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("a program");
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    let count = said.lines().last().unwrap_or_default();
    assert!(
        output.status.success() && count.ends_with(" lost 0 duplicated 0 leaked 0"),
        "seed {seed}: {count}"
    );
}

/// This program, with small disks of its own under the cache and the temporary files if the system allows it.
fn on_small_disks(bench: &Bench) -> Command {
    let program = std::env::current_exe().expect("this program's path");
    let mount = "mount -t tmpfs -o size=8m,mode=700 none \"$1\" && mount -t tmpfs -o size=8m,mode=700 none \"$2\"";
    // Whoever is root needs no user namespace for it, and may be denied one.
    let isolated = |of_the_user: bool, then: &str| {
        let mut command = Command::new("unshare");
        if of_the_user {
            command.args(["--user", "--map-root-user"]);
        }
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("{mount} {then}"))
            .arg("sh")
            .args([bench.path("cache"), bench.path("scratch")]);
        command
    };
    let allowed = |of_the_user: &bool| {
        isolated(*of_the_user, "")
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let Some(of_the_user) = [false, true].into_iter().find(allowed) else {
        println!("no disk will be full: this system allows no mount namespace");
        return Command::new(program);
    };
    let mut command = isolated(of_the_user, "&& shift 2 && SMALL_DISKS=1 exec \"$@\"");
    command.arg(program);
    command
}

/// The role of the program that has the pool.
pub(crate) fn role(directory: &Path, jobs: u64, seed: u64) -> ExitCode {
    let before = held();
    let begun = Instant::now();
    let mut soak = Soak::new(directory, seed);
    for number in 0..jobs {
        if number % CALM == CALM - 1 {
            soak.fault(number);
        }
        soak.job(number);
        soak.settle(WINDOW);
    }
    soak.settle(0);
    soak.free_disks();
    let (lost, duplicated, faults) = (soak.lost, soak.duplicates(), soak.faults);
    let stats = soak.pool.stats();
    println!(
        "compiled {} from the cache {} deaths {} retried {} torn entries {} unwritten entries {}",
        stats.compiled,
        stats.from_cache,
        stats.crashes,
        stats.retried,
        stats.cache_corrupt,
        stats.cache_unwritten
    );
    drop(soak);
    let leaked = leaked(directory, before);
    let seconds = begun.elapsed().as_secs();
    println!(
        "jobs {jobs} faults {faults} seconds {seconds} lost {lost} duplicated {duplicated} leaked {leaked}"
    );
    ExitCode::from(u8::from(lost + duplicated + leaked > 0))
}

struct Soak {
    directory: PathBuf,
    small_disks: bool,
    random: Random,
    toolchain: Toolchain,
    pool: Pool,
    under_way: Vec<UnderWay>,
    /// Compiled jobs that have been answered, by number.
    made: Vec<(u64, JobKey)>,
    /// How often each of them was rightly asked of a compiler once more.
    excused: BTreeMap<u64, u64>,
    /// Numbers of jobs under way whose cache entry was torn.
    torn: BTreeSet<u64>,
    /// Disks that are full, and until which job.
    full: Option<u64>,
    faults: u64,
    /// How often everything stood still, as when a machine is loaded or moved.
    stills: u64,
    lost: u64,
    duplicated: u64,
}

struct UnderWay {
    ticket: Ticket,
    job: Job,
    wanted: Wanted,
    /// Faults and stills before it was submitted.
    faults: u64,
    stills: u64,
    since: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// These bytes back.
    Bytes(u64),
    /// The object, compiled now.
    Fresh(u64),
    /// The object, from the cache.
    Cached(u64),
    /// The object, made again since its entry was torn.
    Mended(u64),
    /// An end at the limit.
    TimedOut,
}

impl Soak {
    fn new(directory: &Path, seed: u64) -> Self {
        let toolchain =
            Toolchain::find(&ToolchainSearch::explicit(directory.join("cc"))).expect("a compiler");
        let pool = Pool::builder()
            .workers(WORKERS)
            .deadline(AMPLE)
            .cache(directory.join("cache"))
            .scratch(directory.join("scratch"))
            .worker_binary(directory.join("worker"))
            // The scripts take notes outside of their directory.
            .sandbox(Sandbox::Off)
            .build()
            .expect("a pool");
        Self {
            directory: directory.to_owned(),
            small_disks: std::env::var_os("SMALL_DISKS").is_some(),
            random: Random(seed),
            toolchain,
            pool,
            under_way: Vec::new(),
            made: Vec::new(),
            excused: BTreeMap::new(),
            torn: BTreeSet::new(),
            full: None,
            faults: 0,
            stills: 0,
            lost: 0,
            duplicated: 0,
        }
    }

    fn job(&mut self, number: u64) {
        if self.full.is_some_and(|until| number >= until) {
            self.free_disks();
        }
        match self.random.below(10) {
            0..6 => self.submit(echo(number), Wanted::Bytes(number)),
            6..8 => self.submit(self.compiled(number), Wanted::Fresh(number)),
            _ => match self.random.among(&self.made).copied() {
                Some((old, key)) if !self.torn.contains(&old) => {
                    let wanted = if self.entry(&key).exists() {
                        Wanted::Cached(old)
                    } else {
                        self.excuse(old);
                        Wanted::Fresh(old)
                    };
                    self.submit(self.compiled(old), wanted);
                }
                _ => self.submit(self.compiled(number), Wanted::Fresh(number)),
            },
        }
    }

    fn fault(&mut self, number: u64) {
        self.faults += 1;
        match self.random.below(6) {
            0 => self.signal_a_worker(Signal::KILL),
            1 => self.signal_a_worker(Signal::STOP),
            2 if self.small_disks => {
                let disk = *self.random.among(&["cache", "scratch"]).expect("two");
                fill(&self.directory.join(disk).join("filler"));
                self.full = Some(number + FULL);
            }
            2 | 3 => self.tear(),
            kind => {
                let word = if kind == 4 { "hang" } else { "stop" };
                let job = Job::cc(&self.toolchain, format!("{word} {number}"), ["-O2"]);
                self.submit(job.limits(within(SHORT)), Wanted::TimedOut);
            }
        }
    }

    fn signal_a_worker(&mut self, signal: Signal) {
        let workers = crate::bench::workers_of(&self.directory.join("worker"));
        // It may be gone by now.
        if let Some(pid) = self.random.among(&workers).copied().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Damages a cache entry, and asks for it.
    fn tear(&mut self) {
        let Some((number, key)) = self.random.among(&self.made).copied() else {
            return;
        };
        let path = self.entry(&key);
        let Ok(mut bytes) = fs::read(&path) else {
            return;
        };
        // Who asks for it at the moment may get either.
        if self.torn.contains(&number) || self.under_way.iter().any(|one| one.ticket.key() == key) {
            return;
        }
        let at = self.random.below(bytes.len() as u64) as usize;
        if self.random.below(2) == 0 {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 0x10;
        }
        if fs::write(&path, bytes).is_err() {
            return;
        }
        self.torn.insert(number);
        self.excuse(number);
        self.submit(self.compiled(number), Wanted::Mended(number));
    }

    fn submit(&mut self, job: Job, wanted: Wanted) {
        self.under_way.push(UnderWay {
            ticket: self.pool.submit(job.clone()),
            job,
            wanted,
            faults: self.faults,
            stills: self.stills,
            since: Instant::now(),
        });
    }

    /// Takes in answers until so many jobs are left under way.
    fn settle(&mut self, left: usize) {
        loop {
            let looked = Instant::now();
            let (answered, waiting) = std::mem::take(&mut self.under_way)
                .into_iter()
                .partition(|one| one.ticket.try_get().is_some() || one.since.elapsed() > PATIENCE);
            self.under_way = waiting;
            for one in answered {
                self.judge(one);
            }
            if self.under_way.len() <= left {
                return;
            }
            if left == 0 {
                self.free_disks();
            }
            std::thread::sleep(Duration::from_micros(500));
            if looked.elapsed() > STILL {
                self.stills += 1;
                let now = Instant::now();
                self.under_way.iter_mut().for_each(|one| one.since = now);
            }
        }
    }

    fn judge(&mut self, one: UnderWay) {
        let Some(result) = one.ticket.try_get() else {
            return self.lose(&one, "it has no answer");
        };
        match (one.wanted, result) {
            (Wanted::Bytes(number), Ok(artefact)) => {
                if *artefact.bytes != *payload(number) {
                    self.lose(&one, "these are other bytes");
                }
            }
            (Wanted::TimedOut, Err(JobError::OverLimit { .. })) => {}
            (
                Wanted::Fresh(number) | Wanted::Cached(number) | Wanted::Mended(number),
                Ok(artefact),
            ) => {
                self.made(&one, number, &artefact);
            }
            (_, Err(error)) if self.is_a_faults_doing(&one, &error) => {
                if let Wanted::Fresh(number) | Wanted::Cached(number) | Wanted::Mended(number) =
                    one.wanted
                {
                    self.excuse(number);
                }
                let (job, wanted) = (one.job, one.wanted);
                self.submit(job, wanted);
            }
            (wanted, result) => {
                let got = format!("{wanted:?} was wanted, and it is {result:?}");
                self.lose(&one, &got);
            }
        }
    }

    fn made(&mut self, one: &UnderWay, number: u64, artefact: &Artefact) {
        if *artefact.bytes != *object() {
            self.lose(one, "this is another object");
        }
        match one.wanted {
            Wanted::Cached(_) if !artefact.from_cache && !self.torn.contains(&number) => {
                self.duplicated += 1;
                complain(&format!("{number} was in the cache and was made again"));
            }
            Wanted::Mended(_) => {
                self.torn.remove(&number);
            }
            _ => {}
        }
        if self.made.iter().all(|(made, _)| *made != number) {
            self.made.push((number, artefact.key));
        }
    }

    /// Whether a job may have failed so: it was hit twice, there was no room on the disk, or its time passed without anybody doing
    /// anything.
    fn is_a_faults_doing(&self, one: &UnderWay, error: &JobError) -> bool {
        let hits = self.faults - one.faults;
        match error {
            JobError::OverLimit { .. } if self.stills > one.stills => true,
            JobError::Crashed {
                signal: Some(9), ..
            }
            | JobError::WorkerGone { .. }
            | JobError::OverLimit { .. } => hits >= 2,
            JobError::Compile { diagnostics, .. } => {
                diagnostics.remains.stderr.contains("No space left")
            }
            JobError::Scratch { .. } | JobError::Spawn { .. } => {
                error.to_string().contains("No space left")
            }
            _ => false,
        }
    }

    fn lose(&mut self, one: &UnderWay, why: &str) {
        self.lost += 1;
        complain(&format!("{:?}: {why}", one.ticket));
    }

    /// Starts of the compiler that nothing explains: neither a fault nor a death of its worker.
    fn duplicates(&self) -> u64 {
        let notes = fs::read_to_string(self.directory.join("notes")).unwrap_or_default();
        let mut starts: BTreeMap<u64, u64> = BTreeMap::new();
        let numbers = notes.lines().filter_map(|line| line.strip_prefix("good-"));
        for number in numbers.filter_map(|rest| rest.split(' ').next()?.parse().ok()) {
            *starts.entry(number).or_default() += 1;
        }
        let excused = |number| self.excused.get(number).copied().unwrap_or(0);
        let again: u64 = starts
            .iter()
            .map(|(number, starts)| starts.saturating_sub(1 + excused(number)))
            .sum();
        self.duplicated + again.saturating_sub(self.pool.stats().retried)
    }

    fn excuse(&mut self, number: u64) {
        *self.excused.entry(number).or_default() += 1;
    }

    fn free_disks(&mut self) {
        self.full = None;
        for disk in ["cache", "scratch"] {
            let _ = fs::remove_file(self.directory.join(disk).join("filler"));
        }
    }

    fn compiled(&self, number: u64) -> Job {
        Job::cc(&self.toolchain, format!("good {number}"), ["-O2"])
    }

    fn entry(&self, key: &JobKey) -> PathBuf {
        let name = key.to_string();
        let shelf = self.directory.join("cache/v1").join(&name[..2]);
        shelf.join(&name[2..])
    }
}

fn echo(number: u64) -> Job {
    Job::echo(payload(number), Duration::ZERO).limits(within(SHORT))
}

/// Mostly small, some large.
fn payload(number: u64) -> Vec<u8> {
    let length = if number.is_multiple_of(41) {
        200_000
    } else {
        8
    };
    let mut payload = vec![number as u8; length];
    payload[..8].copy_from_slice(&number.to_le_bytes());
    payload
}

/// Writes until the disk takes no more.
fn fill(path: &Path) {
    let Ok(mut file) = fs::File::create(path) else {
        return;
    };
    let block = [0; 8 << 10];
    while file.write_all(&block).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
}

/// Descriptors, threads and locks of this process.
fn held() -> [usize; 3] {
    let count = |path: &str| files(Path::new(path));
    let own = format!(" {} ", std::process::id());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let locks = locks.lines().filter(|line| line.contains(&own)).count();
    [count("/proc/self/fd"), count("/proc/self/task"), locks]
}

/// What is left of the pool: what this process holds more than before, processes, temporary files.
fn leaked(directory: &Path, before: [usize; 3]) -> u64 {
    let left = || {
        let more = held()
            .into_iter()
            .zip(before)
            .map(|(now, before)| now.saturating_sub(before));
        let rooms = ["cache/v1/tmp", "cache/v1/claims", "scratch"];
        let kept = rooms.iter().map(|room| files(&directory.join(room)));
        let mut left: Vec<usize> = more.chain(kept).collect();
        left.push(processes(directory));
        left
    };
    // The last shims end by themselves when their workers are gone.
    let mut looks = 0..6_000;
    while left().iter().sum::<usize>() > 0 && looks.next().is_some() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let left = left();
    let sum = left.iter().sum::<usize>();
    if sum > 0 {
        complain(&format!(
            "left: descriptors, threads, locks, unfinished entries, claims, scratch, processes {left:?}"
        ));
    }
    sum as u64
}

/// Living processes that name the directory in their arguments or their environment.
fn processes(directory: &Path) -> usize {
    let name = directory.display().to_string();
    let named = |pid: i32, what: &str| {
        let text = fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
        text.windows(name.len()).any(|part| part == name.as_bytes())
    };
    let own = std::process::id() as i32;
    crate::bench::all_processes()
        .filter(|pid| *pid != own && !is_an_ancestor(*pid))
        .filter(|pid| named(*pid, "cmdline") || named(*pid, "environ"))
        .count()
}

/// The programs that made the disks have turned into this one; only what waits for it remains.
fn is_an_ancestor(pid: i32) -> bool {
    rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == pid)
}

fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "soak: {what}");
}

/// A small generator of numbers (splitmix64): the same seed, the same soak.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn among<'a, T>(&mut self, values: &'a [T]) -> Option<&'a T> {
        let last = values.len() as u64;
        (last > 0).then(|| &values[self.below(last.max(1)) as usize])
    }
}

/// A compiler that notes the number of each source that it is given.
const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
    -dumpmachine) echo test-machine; exit 0 ;;
    -dumpfullversion) echo 1.2.3; exit 0 ;;
esac
read word rest < kernel.c
echo "$word-$rest $$" >> DIR/notes
case "$word" in
    good) cp DIR/object kernel.so ;;
    hang) sleep 1000 & wait ;;
    stop) kill -STOP $$ ;;
esac
"#;
