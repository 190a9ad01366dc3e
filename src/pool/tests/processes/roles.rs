//! The other programs that this test binary is: workers that misbehave, and hosts of a pool.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use planish_pool::wire::{Decoder, Frame, FrameKind, HEADER, JobKind, Order, Welcome};
use planish_pool::{
    Cache, Handlers, Job, Pool, Sandbox, Toolchain, ToolchainSearch, WorkerCommand, enter_if_asked,
    worker_main,
};

/// The argument of a worker that tries what it makes.
const PROVING: &str = "--proving-worker";
/// The argument of a worker that misbehaves; how, comes after it.
const FAULTY: &str = "--faulty-worker=";
/// The argument of a program that is to be killed while its pool works.
pub(crate) const HOST: &str = "--host";
/// The argument of a program that counts its descriptors before and after using pools.
pub(crate) const COUNT: &str = "--count-descriptors";

/// The argument of a program that keeps a pool busy while everything around it fails.
pub(crate) const SOAK: &str = "--soak";

/// The argument of a program whose compiler reaches for what is not its own.
pub(crate) const REACH: &str = "--reach";
/// The argument of a program that finds its compiler with the help of a cache.
pub(crate) const FIND: &str = "--find-compiler";

/// Plays the role that the arguments name, if they name one.
pub(crate) fn play() -> Option<ExitCode> {
    if let Some(code) = enter_if_asked(&crate::tasks::handlers()) {
        return Some(code);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let first = arguments.first()?;
    if first == PROVING {
        let handlers = Handlers::standard().with_prover(prover);
        return Some(worker_main(&handlers, std::env::args_os().skip(2)));
    }
    if let Some(fault) = first.strip_prefix(FAULTY) {
        return Some(faulty_worker(fault));
    }
    match (first.as_str(), &arguments[1..]) {
        (HOST, [directory, workers]) => {
            Some(host(directory.as_ref(), workers.parse().expect("a number")))
        }
        (COUNT, [directory, workers]) => Some(count(
            directory.as_ref(),
            workers.parse().expect("a number"),
        )),
        (SOAK, [directory, jobs, seed]) => Some(crate::soak::role(
            directory.as_ref(),
            jobs.parse().expect("a number"),
            seed.parse().expect("a number"),
        )),
        (REACH, [directory, _, sandbox, blind]) => {
            let blind = blind.parse().expect("true or false");
            Some(crate::sandbox::play(directory.as_ref(), sandbox, blind))
        }
        (FIND, [directory, _]) => Some(find(directory.as_ref())),
        _ => None,
    }
}

/// The command of a worker whose results are tried by [`prover`].
pub(crate) fn proving() -> WorkerCommand {
    let program = std::env::current_exe().expect("this program's path");
    WorkerCommand::verb(program, PROVING)
}

/// Does to what it is given what the claim says.
fn prover(bytes: &[u8], claim: &str) -> Result<String, String> {
    match claim {
        "right" => Ok(format!("{}-byte machine", bytes.len())),
        "wrong" => Err("value 3 is 7, expected 8".to_owned()),
        "dies" => std::process::abort(),
        "hangs" => loop {
            std::hint::spin_loop();
        },
        "reads" => match std::fs::read("/etc/passwd") {
            Ok(_) => Ok("an open machine".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        other => panic!("there is no claim `{other}`"),
    }
}

/// The command of a worker with this fault.
pub(crate) fn faulty(fault: &str) -> WorkerCommand {
    let program = std::env::current_exe().expect("this program's path");
    WorkerCommand::verb(program, format!("{FAULTY}{fault}"))
}

fn faulty_worker(fault: &str) -> ExitCode {
    let stdin = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .expect("standard input");
    let mut stream = UnixStream::from(stdin);
    match fault {
        "prints" => return stay(&mut stream, b"usage: something"),
        "other-version" => {
            let mut bytes = encoded(&welcome());
            bytes[4] = 9;
            return stay(&mut stream, &bytes);
        }
        "complains" => {
            let _ = writeln!(std::io::stderr(), "cannot be a worker today");
            return ExitCode::from(5);
        }
        _ => {}
    }
    let mut decoder = Decoder::default();
    let hello = next(&mut stream, &mut decoder);
    assert_eq!(hello.kind, FrameKind::Hello);
    stream.write_all(&encoded(&welcome())).expect("write");
    loop {
        let frame = next(&mut stream, &mut decoder);
        let order: Order = frame.order().expect("an order");
        let JobKind::Echo(echo) = order.kind else {
            return ExitCode::FAILURE;
        };
        let mut answer = encoded(&Frame::new(
            FrameKind::Done,
            frame.job,
            echo.payload.clone(),
        ));
        match fault {
            "garbage" => return stay(&mut stream, &[0xa5; 100]),
            "damaged" => {
                let last = answer.len() - 1;
                answer[last] ^= 1;
                return stay(&mut stream, &answer);
            }
            "truncated" => {
                stream.write_all(&answer[..=HEADER]).expect("write");
                return ExitCode::SUCCESS;
            }
            "oversized" => {
                answer[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
                return stay(&mut stream, &answer);
            }
            "other-job" => {
                return stay(
                    &mut stream,
                    &encoded(&Frame::new(FrameKind::Done, 999, Vec::new())),
                );
            }
            "returns" => {
                let returned = Frame::new(FrameKind::Returned, frame.job, Vec::new());
                return stay(&mut stream, &encoded(&returned));
            }
            "places" => {
                let region = planish_pool::wire::Region {
                    offset: 4096,
                    length: 100,
                };
                let placed = Frame::with(FrameKind::Placed, frame.job, &region);
                return stay(&mut stream, &encoded(&placed.expect("it encodes")));
            }
            "aborts" => std::process::abort(),
            "exits" => return ExitCode::SUCCESS,
            "panics" => panic!("a bug in a handler"),
            "mute" => loop {
                std::thread::park();
            },
            // The payload names a file that is there from the second attempt on.
            "aborts-once" => {
                let marker = PathBuf::from(String::from_utf8(echo.payload.into()).expect("a path"));
                if std::fs::File::create_new(&marker).is_ok() {
                    std::process::abort();
                }
                stream.write_all(&answer).expect("write");
            }
            other => panic!("there is no fault `{other}`"),
        }
    }
}

/// Writes, and lives on until it is killed or the pool goes.
fn stay(stream: &mut UnixStream, bytes: &[u8]) -> ExitCode {
    stream.write_all(bytes).expect("write");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    ExitCode::SUCCESS
}

fn next(stream: &mut UnixStream, decoder: &mut Decoder) -> Frame {
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = decoder.next_frame().expect("a frame") {
            return frame;
        }
        match stream.read(&mut buffer).expect("read") {
            0 => std::process::exit(0),
            count => decoder.push(&buffer[..count]),
        }
    }
}

fn welcome() -> Frame {
    let welcome = Welcome {
        program_version: "0".to_owned(),
        process: std::process::id(),
    };
    Frame::with(FrameKind::Hello, 0, &welcome).expect("it encodes")
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes).expect("it encodes");
    bytes
}

fn pool(directory: &Path, workers: usize) -> Pool {
    let worker = WorkerCommand::binary(directory.join("worker"));
    Pool::builder()
        .workers(workers)
        .scratch(directory.join("scratch"))
        .worker(worker)
        .sandbox(Sandbox::Off)
        .build()
        .expect("a pool")
}

/// Gives every worker a job that does not end, and waits to be killed.
fn host(directory: &Path, workers: usize) -> ExitCode {
    let toolchain =
        Toolchain::find(&ToolchainSearch::explicit(directory.join("cc"))).expect("a compiler");
    let pool = pool(directory, workers);
    let tickets: Vec<_> = (0..workers)
        .map(|number| pool.submit(Job::cc(&toolchain, format!("hang {number}"), ["-O2"])))
        .collect();
    for ticket in tickets {
        let _ = ticket.wait();
    }
    ExitCode::FAILURE
}

/// Uses pools in every way that ends, and compares its open descriptors.
fn count(directory: &Path, workers: usize) -> ExitCode {
    let toolchain =
        Toolchain::find(&ToolchainSearch::explicit(directory.join("cc"))).expect("a compiler");
    let descriptors = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let threads = || std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    let before = (descriptors(), threads());
    for round in 0..3 {
        let pool = pool(directory, workers);
        let large = pool.submit(Job::echo(vec![round; 1 << 20], Duration::ZERO));
        let _ = large.wait();
        for word in ["good", "segv", "refuse", "orphan", "hang"] {
            let ticket = pool.submit(Job::cc(&toolchain, format!("{word} {round}"), ["-O2"]));
            if word != "hang" {
                let _ = ticket.wait();
            }
        }
        let cancelled = pool.submit(Job::echo(vec![round], Duration::from_secs(1000)));
        cancelled.cancel();
        let _ = cancelled.wait();
    }
    let now = || (descriptors(), threads());
    // A thread that was waited for is told of until the kernel has cleared it away.
    let looks = (0..2_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        before == now()
    });
    if looks {
        return ExitCode::SUCCESS;
    }
    let after = now();
    let _ = writeln!(
        std::io::stderr(),
        "descriptors and threads before {before:?}, after {after:?}"
    );
    ExitCode::FAILURE
}

fn find(directory: &Path) -> ExitCode {
    let cache = Cache::open(directory.join("cache")).expect("a cache");
    let search = ToolchainSearch::explicit(directory.join("cc"));
    let toolchain = Toolchain::find_with(&search, &cache).expect("a compiler");
    assert_eq!(
        (toolchain.version(), toolchain.machine()),
        ("1.2.3", "test-machine")
    );
    assert_eq!(toolchain, Toolchain::find(&search).expect("a compiler"));
    ExitCode::SUCCESS
}
