//! Compiles one C source to a shared object.
//!
//! The compiler is started by its arguments, never through a shell, in a private directory with
//! fixed file names, and with an environment built from nothing. So the same source gives the same
//! bytes, whoever compiles it, wherever.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::child::{Ended, Program, Trial};
use crate::error::Process;
use crate::remains::{Remains, Resource, Usage};
use crate::toolchain;
use crate::wire::{CompileC, Failure, JobKind};
use crate::worker::{Handler, JobContext};

const SOURCE: &str = "kernel.c";
const RESULT: &str = "kernel.so";
/// How an ELF64 little-endian file begins.
const ELF: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
/// `e_type` of a shared object.
const SHARED_OBJECT: [u8; 2] = [3, 0];

/// The handler of [`JobKind::CompileC`].
#[derive(Debug)]
pub(crate) struct CompileCJobs;

impl Handler for CompileCJobs {
    fn takes(&self, kind: &JobKind) -> bool {
        matches!(kind, JobKind::CompileC(_))
    }

    fn run(&self, kind: &JobKind, context: &mut JobContext<'_>) -> Result<Bytes, Failure> {
        let JobKind::CompileC(job) = kind else {
            return Err(Failure::Unsupported {
                kind: kind.name().to_owned(),
            });
        };
        let scratch = |reason: String| Failure::Scratch { reason };
        context.phase("write the source");
        let directory = context.directory()?;
        std::fs::write(directory.path().join(SOURCE), &job.source)
            .map_err(|error| scratch(format!("{SOURCE}: {error}")))?;
        let compiler = Path::new(&job.compiler);
        let program = Program {
            path: compiler,
            arguments: arguments(job),
            environment: environment(compiler, directory.path()),
            directory: directory.path(),
        };
        context.phase("compile");
        let ended = context.execute(&program)?;
        let usage = succeeded(&program, ended)?;
        context.used(usage);
        context.phase("read the result");
        let result = directory.path().join(RESULT);
        let bytes = read_result(&result, context.bounds().output)?;
        if let Some(claim) = &job.claim {
            context.phase("try the result");
            let trial = context.prove(&result, claim)?;
            let command = program.command_line();
            proven(trial, usage, command)?;
        }
        Ok(bytes.into())
    }
}

/// The flags come after the source, so that a library among them is searched for what the source
/// needs.
fn arguments(job: &CompileC) -> Vec<OsString> {
    let fixed = ["-shared", "-fPIC", "-o", RESULT, SOURCE];
    fixed
        .into_iter()
        .map(OsString::from)
        .chain(job.flags.iter().map(OsString::from))
        .collect()
}

fn environment(compiler: &Path, directory: &Path) -> Vec<(&'static str, OsString)> {
    let mut environment = toolchain::environment(compiler);
    environment.push(("TMPDIR", directory.into()));
    // Debug information names the working directory, and takes it from here if it is the same one.
    environment.push(("PWD", "/proc/self/cwd".into()));
    environment
}

fn succeeded(program: &Program<'_>, ended: Ended) -> Result<Usage, Failure> {
    const SIGXCPU: i32 = 24;
    let remains = |stderr, usage| Remains {
        stderr,
        usage,
        command: program.command_line(),
    };
    match ended {
        Ended::Exited {
            signal: None,
            code: Some(0),
            usage,
            ..
        } => Ok(usage),
        Ended::Exited {
            signal,
            code,
            output,
            usage,
        } => {
            let signal = signal.or_else(|| reported_signal(&output));
            let wants_memory = signal.is_none() && reports_no_memory(&output);
            let remains = remains(output, usage);
            Err(match signal {
                Some(SIGXCPU) => over(Resource::Cpu, remains),
                Some(signal) => Failure::Crashed {
                    process: Process::Compiler,
                    signal: Some(signal),
                    code,
                    remains,
                },
                None if wants_memory => over(Resource::Memory, remains),
                None => Failure::Compile {
                    code: code.unwrap_or(-1),
                    remains,
                },
            })
        }
        Ended::Over {
            resource,
            output,
            usage,
        } => Err(over(resource, remains(output, usage))),
        Ended::Interrupted => Err(Failure::Cancelled),
        Ended::CannotExecute { reason } => Err(Failure::Toolchain { reason }),
    }
}

/// What came of trying the result of a compiler that used so much and is repeated by `command`.
fn proven(trial: Trial, usage: Usage, command: String) -> Result<(), Failure> {
    let remains = |stderr| Remains {
        stderr,
        usage,
        command,
    };
    match trial {
        Trial::Proven { .. } => Ok(()),
        Trial::Wrong { reason } => Err(Failure::Wrong {
            reason,
            remains: remains(String::new()),
        }),
        Trial::Crashed { signal, output } => Err(Failure::Crashed {
            process: Process::Result,
            signal: Some(signal),
            code: None,
            remains: remains(output),
        }),
        Trial::Interrupted => Err(Failure::Cancelled),
        Trial::Cannot { reason } => Err(Failure::Spawn { reason }),
    }
}

fn over(resource: Resource, remains: Remains) -> Failure {
    Failure::Over { resource, remains }
}

/// Compilers that get no memory say so and exit normally: GCC's two ways, and clang's.
fn reports_no_memory(stderr: &str) -> bool {
    const WORDS: [&str; 4] = [
        "out of memory allocating",
        "virtual memory exhausted",
        "Cannot allocate memory",
        "LLVM ERROR: out of memory",
    ];
    WORDS.iter().any(|words| stderr.contains(words))
}

/// A driver that finds one of its programs killed exits normally and tells in English. The names
/// are those of `strsignal` in the C locale.
fn reported_signal(stderr: &str) -> Option<i32> {
    const NAMES: [(&str, i32); 7] = [
        ("Illegal instruction", 4),
        ("Aborted", 6),
        ("Bus error", 7),
        ("Killed", 9),
        ("Segmentation fault", 11),
        ("CPU time limit exceeded", 24),
        ("File size limit exceeded", 25),
    ];
    let line = stderr
        .lines()
        .find(|line| line.contains("signal terminated program"))?;
    NAMES
        .iter()
        .find(|(name, _)| line.contains(name))
        .map(|(_, signal)| *signal)
}

/// Reads what the compiler left, if that is a plain file of a decent size with a shared object.
fn read_result(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |got: String| Failure::Output {
        expected: "an ELF shared object from the compiler".to_owned(),
        got,
    };
    let metadata = std::fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong("no file".to_owned()),
        _ => Failure::Scratch {
            reason: format!("{RESULT}: {error}"),
        },
    })?;
    if !metadata.is_file() {
        return Err(wrong("something that is not a file".to_owned()));
    }
    if metadata.len() > most {
        return Err(wrong(format!(
            "a file of {} bytes, {most} allowed",
            metadata.len()
        )));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_end(&mut bytes))
        .map_err(|error| Failure::Scratch {
            reason: format!("{RESULT}: {error}"),
        })?;
    if bytes.starts_with(&ELF) && bytes.get(16..18) == Some(&SHARED_OBJECT) {
        Ok(bytes)
    } else {
        let start = bytes[..bytes.len().min(16)].escape_ascii();
        Err(wrong(format!(
            "a file of {} bytes that starts with `{start}`",
            bytes.len()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_the_driver_tells_of_is_understood() {
        let stderr =
            "gcc: internal compiler error: Segmentation fault signal terminated program cc1\n";
        assert_eq!(reported_signal(stderr), Some(11));
        assert_eq!(reported_signal("kernel.c:1: error: Killed"), None);
        let failure = failure(stderr);
        let Failure::Crashed {
            signal: Some(11),
            code: Some(4),
            remains,
            ..
        } = failure
        else {
            panic!("{failure:?}")
        };
        assert_eq!(remains.command, "env -i PATH=/bin /bin/cc -c 'kernel 1.c'");
    }

    #[test]
    fn a_compiler_that_gets_no_memory_is_over_its_limit() {
        let failure = failure("cc1: out of memory allocating 65536 bytes after a total of 1\n");
        assert!(
            matches!(
                failure,
                Failure::Over {
                    resource: Resource::Memory,
                    ..
                }
            ),
            "{failure:?}"
        );
    }

    fn failure(stderr: &str) -> Failure {
        let program = Program {
            path: Path::new("/bin/cc"),
            arguments: vec!["-c".into(), "kernel 1.c".into()],
            environment: vec![("PATH", "/bin".into()), ("TMPDIR", "/x".into())],
            directory: Path::new("/x"),
        };
        let ended = Ended::Exited {
            signal: None,
            code: Some(4),
            output: stderr.to_owned(),
            usage: Usage::default(),
        };
        succeeded(&program, ended).expect_err("it failed")
    }

    #[test]
    fn only_a_plain_file_with_a_shared_object_is_a_result() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(RESULT);
        let got = |path: &Path| match read_result(path, 64) {
            Err(Failure::Output { got, .. }) => got,
            other => panic!("{other:?}"),
        };
        assert_eq!(got(&path), "no file");
        std::fs::write(&path, "hello").expect("write");
        assert_eq!(got(&path), "a file of 5 bytes that starts with `hello`");
        std::fs::write(&path, [0; 65]).expect("write");
        assert_eq!(got(&path), "a file of 65 bytes, 64 allowed");
        assert_eq!(got(directory.path()), "something that is not a file");
        let mut object = [0; 20];
        object[..6].copy_from_slice(&ELF);
        object[16..18].copy_from_slice(&SHARED_OBJECT);
        std::fs::write(&path, object).expect("write");
        assert_eq!(read_result(&path, 64), Ok(object.to_vec()));
    }
}
