//! Compiles one Triton kernel to a cubin with its launch record.
//!
//! The source is run by Python, so it could do anything that its process may: it has the limits, the
//! directory and the process group of a compiler, and what it leaves is checked before it is taken.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use crate::error::Process;
use crate::remains::{Remains, Resource, Usage};
use crate::triton::resident::{Ended, NoEnd, Resident};
use crate::triton::{LaunchRecord, Metadata, TritonArtefact, is_cubin};
use crate::wire::{CompileTriton, Failure, JobKind, Level};
use crate::worker::{Handler, JobContext};

/// How a job's process says whose fault it is, as in `resident.py`.
const NO_TOOL: i32 = 3;
/// What speaks in the log.
const TARGET: &str = "planish::triton";
/// Bytes of output that are kept, from its end.
const TAIL: u64 = 16 << 10;

/// The handler of [`JobKind::CompileTriton`].
#[derive(Debug)]
pub(crate) struct CompileTritonJobs;

impl Handler for CompileTritonJobs {
    fn takes(&self, kind: &JobKind) -> bool {
        matches!(kind, JobKind::CompileTriton(_))
    }

    fn run(&self, kind: &JobKind, context: &mut JobContext<'_>) -> Result<Bytes, Failure> {
        let JobKind::CompileTriton(job) = kind else {
            return Err(Failure::Unsupported {
                kind: kind.name().to_owned(),
            });
        };
        let directory = context.directory()?;
        let (source, arch) = (&job.source, job.arch);
        let text = format_args!(
            "{} for {arch}: {}\n{}",
            source.function(),
            source.signature(),
            source.text()
        );
        context.log(Level::Debug, TARGET, text);
        let ended = compile(job, context, directory.path());
        let said = tail(&directory.path().join("output.txt"));
        succeeded(ended, &said)?;
        if !said.trim().is_empty() {
            context.log(Level::Warn, TARGET, said.trim());
        }
        let made = collect(job, directory.path(), context.bounds().output)?;
        Ok(made.into())
    }
}

/// Has the resident Python do it, which is started if it is not there.
fn compile(
    job: &CompileTriton,
    context: &mut JobContext<'_>,
    directory: &Path,
) -> Result<Ended, NoEnd> {
    let (launcher, scratch) = context.workshop();
    let (deadline, bounds) = (context.deadline(), *context.bounds());
    let mut room = launcher.resident.borrow_mut();
    // What does not serve is ended before another one is started.
    room.take_if(|resident| !resident.serves(&job.tools));
    let mut resident = match room.take() {
        Some(resident) => resident,
        None => Resident::start(launcher, job, scratch, deadline, &mut context.interrupts)?,
    };
    let ended = resident.run(
        launcher,
        job,
        directory,
        &bounds,
        deadline,
        &mut context.interrupts,
    );
    // One that is gone is not served again, and the next job starts another.
    let stays = room.insert(resident).processes();
    let swept = launcher.end_what_is_left(&stays);
    swept.map_err(|error| NoEnd::Cannot {
        reason: error.to_string(),
    })?;
    ended
}

fn succeeded(ended: Result<Ended, NoEnd>, said: &str) -> Result<(), Failure> {
    const SIGXCPU: i32 = 24;
    let remains = |usage| Remains {
        usage,
        ..Remains::words(said)
    };
    match ended {
        Ok(Ended { code: Some(0), .. }) => Ok(()),
        Ok(Ended {
            code: Some(NO_TOOL),
            ..
        }) => Err(Failure::Toolchain {
            reason: said.trim().to_owned(),
        }),
        Ok(Ended {
            signal,
            code,
            cpu_ms,
            peak_kib,
        }) => {
            let remains = remains(Usage {
                cpu: Duration::from_millis(cpu_ms),
                peak: peak_kib << 10,
            });
            Err(match signal {
                Some(SIGXCPU) => Failure::Over {
                    resource: Resource::Cpu,
                    remains,
                },
                Some(_) => Failure::Crashed {
                    process: Process::Compiler,
                    signal,
                    code,
                    remains,
                },
                None => Failure::Compile {
                    code: code.unwrap_or(-1),
                    remains,
                },
            })
        }
        Err(NoEnd::TimedOut) => Err(Failure::Over {
            resource: Resource::Wall,
            remains: remains(Usage::default()),
        }),
        Err(NoEnd::Crowded) => Err(Failure::Over {
            resource: Resource::Processes,
            remains: remains(Usage::default()),
        }),
        Err(NoEnd::Interrupted) => Err(Failure::Cancelled),
        Err(NoEnd::Gone { how, stderr }) => Err(Failure::Toolchain {
            reason: format!("the Python of Triton {how}\n{}", stderr.trim()),
        }),
        Err(NoEnd::Cannot { reason }) => Err(Failure::Spawn { reason }),
    }
}

/// What the job's process left, if it is what it should be.
fn collect(job: &CompileTriton, directory: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let metadata = read(&directory.join("kernel.json"), most)?;
    let ptx = read(&directory.join("kernel.ptx"), most)?;
    let cubin = read(&directory.join("kernel.cubin"), most)?;
    let wrong = |got: String| Failure::Output {
        expected: "a cubin and its description from Triton".to_owned(),
        got,
    };
    let metadata: Metadata = serde_json::from_slice(&metadata)
        .map_err(|error| wrong(format!("kernel.json that does not read ({error})")))?;
    let ptx = String::from_utf8(ptx).map_err(|_| wrong("PTX that is not text".to_owned()))?;
    if !is_cubin(&cubin) {
        let start = cubin[..cubin.len().min(16)].escape_ascii();
        return Err(wrong(format!("a cubin that starts with `{start}`")));
    }
    let record = LaunchRecord::new(&job.source, metadata, &ptx).map_err(wrong)?;
    let artefact = TritonArtefact { record, cubin, ptx };
    let bytes = artefact.bytes();
    if bytes.len() as u64 > most {
        return Err(wrong(format!("{} bytes, {most} allowed", bytes.len())));
    }
    Ok(bytes)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let name = path.file_name().unwrap_or_default().display();
    let wrong = |got: String| Failure::Output {
        expected: format!("{name} from Triton"),
        got,
    };
    let metadata = std::fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong("no file".to_owned()),
        _ => Failure::Scratch {
            reason: format!("{name}: {error}"),
        },
    })?;
    if !metadata.is_file() {
        return Err(wrong("something that is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::Scratch {
        reason: format!("{name}: {error}"),
    })?;
    if bytes.len() as u64 > most {
        return Err(wrong(format!("more than the {most} bytes allowed")));
    }
    Ok(bytes)
}

/// The end of what the job's process wrote.
fn tail(path: &Path) -> String {
    use std::io::{Seek, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}
