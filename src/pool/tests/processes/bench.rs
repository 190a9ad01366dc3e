//! What a test works on: a directory, a compiler made for the test, and a pool.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use planish_pool::wire::Hello;
use planish_pool::{
    Builder, Job, Limits, Pool, Sandbox, Toolchain, ToolchainSearch, WorkerCommand,
};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;

/// How long something that must happen may take on a loaded machine, or on one that stands still for a minute or two.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// A private world: nothing in it is shared with another test.
pub(crate) struct Bench {
    directory: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let bench = Self { directory };
        fs::create_dir(bench.path("scratch")).expect("create");
        // The name under which workers are found again; a link, so that it is this test's alone.
        symlink(env!("CARGO_BIN_EXE_planish-worker"), bench.path("worker")).expect("link");
        fs::write(bench.path("object"), object()).expect("write");
        bench.script("cc", SCRIPT);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An executable script; `DIR` in it stands for the bench's directory.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let text = text.replace("DIR", &self.directory.path().display().to_string());
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
        // A file that is open for writing cannot be executed, and a child that another test has
        // just forked holds it open until it executes its own program.
        until("the script to be executable", || {
            let asked = Command::new(&path).arg("-dumpfullversion").output();
            !matches!(asked, Err(error) if error.kind() == ErrorKind::ExecutableFileBusy)
        });
        path
    }

    /// What a pool says first to this bench's worker.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            program: self.path("worker").into(),
            arguments: Vec::new(),
            scratch: self.path("scratch").join("none").into(),
            cache: None,
            phases: false,
            sandbox: Sandbox::Off,
        }
    }

    /// The scripted compiler.
    pub(crate) fn toolchain(&self) -> Toolchain {
        Toolchain::find(&ToolchainSearch::explicit(self.path("cc"))).expect("a compiler")
    }

    pub(crate) fn builder(&self, workers: usize) -> Builder {
        Pool::builder()
            .workers(workers)
            .scratch(self.path("scratch"))
            // The scripts take notes outside of their directory.
            .sandbox(Sandbox::Off)
            .worker(self.worker())
    }

    pub(crate) fn pool(&self, workers: usize) -> Pool {
        self.builder(workers).build().expect("a pool")
    }

    pub(crate) fn worker(&self) -> WorkerCommand {
        WorkerCommand::binary(self.path("worker"))
    }

    /// A job for the scripted compiler: the first word of `source` is what it does.
    pub(crate) fn job(&self, source: &str) -> Job {
        Job::cc(&self.toolchain(), source, ["-O2"]).named(source)
    }

    /// The process ids that the scripts wrote down after `word`.
    pub(crate) fn noted(&self, word: &str) -> Vec<i32> {
        let notes = fs::read_to_string(self.path("notes")).unwrap_or_default();
        notes
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(noted, _)| *noted == word)
            .filter_map(|(_, pid)| pid.trim().parse().ok())
            .collect()
    }

    /// Waits until the scripts have noted `count` processes under `word`.
    pub(crate) fn wait_for(&self, word: &str, count: usize) -> Vec<i32> {
        until(&format!("{count} times `{word}`"), || {
            self.noted(word).len() >= count
        });
        self.noted(word)
    }

    /// How often a compiler was started for a source that begins with `word`.
    pub(crate) fn started(&self, word: &str) -> usize {
        self.noted(word).len()
    }

    /// The living worker processes of pools in this process.
    pub(crate) fn workers(&self) -> Vec<i32> {
        workers_of(&self.path("worker"))
    }

    /// The living processes of the worker program that have these arguments.
    pub(crate) fn processes_with(&self, arguments: &[&str]) -> Vec<i32> {
        let all = running(&self.path("worker")).into_iter();
        all.filter(|(_, found)| found == arguments)
            .map(|(pid, _)| pid)
            .collect()
    }

    /// No process of the bench is alive, and no temporary file is left.
    pub(crate) fn assert_nothing_left(&self) {
        until("every worker to be gone", || {
            running(&self.path("worker")).is_empty()
        });
        let notes = fs::read_to_string(self.path("notes")).unwrap_or_default();
        let pids = notes
            .lines()
            .filter_map(|line| line.split_once(' ')?.1.trim().parse().ok());
        for pid in pids.collect::<Vec<i32>>() {
            until(&format!("process {pid} to be gone\n{notes}"), || {
                !alive(pid)
            });
        }
        let scratch = self.path("scratch");
        until("the scratch directory to be empty", || files(&scratch) == 0);
    }
}

/// This process' workers of a program. A worker's child that has not executed its own program yet looks like one, but for its parent.
pub(crate) fn workers_of(program: &Path) -> Vec<i32> {
    let own = std::process::id().to_string();
    running(program)
        .into_iter()
        .filter(|(pid, arguments)| arguments.is_empty() && parent(*pid).as_ref() == Some(&own))
        .map(|(pid, _)| pid)
        .collect()
}

pub(crate) fn parent(pid: i32) -> Option<String> {
    after_the_name(pid, 1)
}

/// When it was started, in ticks of the kernel.
pub(crate) fn begun(pid: i32) -> Option<u64> {
    after_the_name(pid, 19)?.parse().ok()
}

/// A field of what the kernel tells of a process in one line, counted from the one after its name.
fn after_the_name(pid: i32, field: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(field).map(str::to_owned)
}

/// Everything that runs a program, with its arguments.
fn running(program: &Path) -> Vec<(i32, Vec<String>)> {
    let program = program.display().to_string();
    all_processes()
        .filter_map(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
            let mut words = line.split_terminator('\0').map(str::to_owned);
            (words.next()? == program).then(|| (pid, words.collect()))
        })
        .collect()
}

/// Every process that `/proc` shows.
pub(crate) fn all_processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
}

/// Limits with this much time on the clock.
pub(crate) fn within(wall: Duration) -> Limits {
    Limits {
        wall: Some(wall),
        ..Limits::default()
    }
}

/// Waits for something. Looks are counted, not the time: a machine that stood still for a while has done nothing meanwhile either.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut looks = 0..PATIENCE.as_millis() / PAUSE.as_millis();
    while !holds() {
        assert!(looks.next().is_some(), "waited in vain for {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Whether a process runs. One that has ended and was not reaped does not.
pub(crate) fn alive(pid: i32) -> bool {
    after_the_name(pid, 0).is_some_and(|state| !matches!(state.as_str(), "Z" | "X"))
}

pub(crate) fn kill(pid: i32) {
    send(pid, Signal::KILL);
}

pub(crate) fn stop(pid: i32) {
    send(pid, Signal::STOP);
}

fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("send a signal");
}

pub(crate) fn files(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

/// The smallest thing that passes for a shared object.
pub(crate) fn object() -> Vec<u8> {
    let mut object = vec![0; 64];
    object[..6].copy_from_slice(b"\x7fELF\x02\x01");
    object[16] = 3;
    object
}

/// A compiler that does what the first word of its source says, and notes its process id first.
const SCRIPT: &str = r#"#!/bin/sh
case "$1" in
    -dumpmachine) echo "asked $$" >> DIR/notes; echo test-machine; exit 0 ;;
    -dumpfullversion) echo 1.2.3; exit 0 ;;
esac
read word rest < kernel.c
echo "$word $$" >> DIR/notes
note() { echo "$1 $2" >> DIR/notes; }
case "$word" in
    good) cp DIR/object kernel.so ;;
    hang) sleep 1000 & note child $!; wait ;;
    stop) kill -STOP $$; cp DIR/object kernel.so ;;
    segv) kill -SEGV $$ ;;
    refuse) echo "kernel.c:1: error: $rest" >&2; exit 1 ;;
    text) echo "this is no object" > kernel.so ;;
    nothing) ;;
    fifo) mkfifo kernel.so ;;
    loud) head -c 300000 /dev/zero | tr '\0' x >&2; echo " the end" >&2; exit 1 ;;
    orphan) sleep 1000 & note child $!; cp DIR/object kernel.so ;;
    daemon) setsid sh -c 'echo "child $$" >> DIR/notes; exec sleep 1000' & cp DIR/object kernel.so
        until grep -q child DIR/notes; do sleep 0.01; done ;;
    crowd) for number in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & note child $!; done; wait ;;
    spin) while :; do :; done ;;
    large) head -c 3000000 /dev/zero > kernel.so ;;
    gate) until test -e DIR/open; do sleep 0.02; done; cp DIR/object kernel.so ;;
    late) until test -e DIR/open; do sleep 0.02; done; echo "kernel.c:1: error: $rest" >&2; exit 1 ;;
    environment) env | sort >&2; pwd -P >&2; echo "$@" >&2; exit 1 ;;
esac
"#;
