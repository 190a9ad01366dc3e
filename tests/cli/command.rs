//! Runs of the program, and the room that they happen in.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Looks at a run, and the pause between two: a minute and a half, which is longer than any run takes. What takes longer hangs. The time
/// is not asked: a machine that stands still does nothing for a run either.
const LOOKS: u32 = 45_000;
const PAUSE: Duration = Duration::from_millis(2);

/// The model that all of these tests finalize.
pub(crate) fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits_int8.pt")
}

/// Its test images and PyTorch's outputs.
pub(crate) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits_test.safetensors")
}

/// A directory of its own for one test.
pub(crate) struct Room {
    directory: TempDir,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Makes a file.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("write");
        path
    }

    /// Makes a program of the shell.
    pub(crate) fn program(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        // By a process of its own: what is open for writing cannot be executed, and a file that this process writes is open in every
        // child that another test has just forked.
        let mut shell = Command::new("sh");
        let line = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let status = shell.args(["-c", line]).arg(&path).arg(script).status();
        assert!(status.is_ok_and(|status| status.success()));
        path
    }

    /// One that is a compiler. Those are asked for their version and machine first: the real one answers.
    pub(crate) fn compiler(&self, name: &str, script: &str) -> PathBuf {
        let answer = "case \"$1\" in -dump*) exec cc \"$@\";; esac";
        self.program(name, &format!("{answer}\n{script}"))
    }

    /// What lies in the room, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("read").flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A run in this room. Kernels are kept among the tests' own temporary files, so that they are compiled once.
    pub(crate) fn planish(&self, verb: &str) -> Run {
        let mut run = Run::of(Command::new(env!("CARGO_BIN_EXE_planish")), &self.directory);
        run.command.arg(verb);
        if ["finalize", "doctor"].contains(&verb) {
            run.cache(Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels"))
        } else {
            run
        }
    }

    /// A line of the shell in this room, where `$planish` is the program.
    pub(crate) fn shell(&self, line: &str) -> Run {
        let mut run = Run::of(Command::new("sh"), &self.directory);
        run.command
            .args(["-c", line])
            .env("planish", env!("CARGO_BIN_EXE_planish"));
        run
    }

    /// The digits model, finalized.
    pub(crate) fn finalized(&self) -> PathBuf {
        let path = self.path("digits.planish");
        self.planish("finalize")
            .arg(digits())
            .arg("-o")
            .arg(&path)
            .succeeds();
        path
    }
}

/// A run of the program that was not started yet.
pub(crate) struct Run {
    command: Command,
    cache: Option<PathBuf>,
}

impl Run {
    fn of(mut command: Command, directory: &TempDir) -> Self {
        command
            .current_dir(directory.path())
            .env_remove("CC")
            .env_remove("PLANISH_WORKER")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self {
            command,
            cache: None,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Another cache than that of the tests.
    pub(crate) fn cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = Some(directory.into());
        self
    }

    /// Without a cache.
    pub(crate) fn no_cache(mut self) -> Self {
        self.cache = None;
        self.arg("--no-cache")
    }

    /// Runs to the end, in bounded time and without a panic.
    pub(crate) fn outcome(mut self) -> Outcome {
        if let Some(cache) = &self.cache {
            self.command.arg("--cache").arg(cache);
        }
        let shown = format!("{:?}", self.command);
        let mut looks = 0..LOOKS;
        let mut child = self.command.spawn().expect("start planish");
        let stdout = child.stdout.take().map(reader).expect("a pipe");
        let stderr = child.stderr.take().map(reader).expect("a pipe");
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if looks.next().is_none() {
                let _ = child.kill();
                panic!("{shown} did not end within {:?}", PAUSE * LOOKS);
            }
            thread::sleep(PAUSE);
        };
        let outcome = Outcome {
            code: status.code(),
            stdout: stdout.join().expect("read"),
            stderr: stderr.join().expect("read"),
            shown,
        };
        assert!(!outcome.stderr.contains("panicked"), "{outcome:?}");
        outcome
    }

    /// Runs, and it goes well: returns what was printed.
    pub(crate) fn succeeds(self) -> Outcome {
        let outcome = self.outcome();
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        outcome
    }

    /// Runs, and it ends with a message that has all of `parts`, and prints no result.
    pub(crate) fn fails(self, code: i32, parts: &[&str]) -> Outcome {
        let outcome = self.outcome();
        assert_eq!(outcome.code, Some(code), "{outcome:?}");
        for part in parts {
            assert!(outcome.stderr.contains(part), "no {part:?} in {outcome:?}");
        }
        assert!(!outcome.stderr.contains("failed to failed"), "{outcome:?}");
        outcome
    }
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    #[expect(dead_code, reason = "read when a test fails")]
    shown: String,
}

impl Outcome {
    /// Asserts that standard output has these lines, in this order.
    pub(crate) fn prints(&self, lines: &[&str]) -> &Self {
        let mut rest = self.stdout.lines();
        for line in lines {
            let found = rest.any(|found| found.starts_with(line));
            assert!(found, "no line {line:?} in its place in {self:?}");
        }
        self
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
