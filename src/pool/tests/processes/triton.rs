//! Triton kernels: made without a device, and what the resident Python survives.
//!
//! The tests need a Python with Triton, which `PLANISH_TRITON_PYTHON` names. Without it each of them
//! is listed as skipped.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;
use planish_pool::{
    Arch, Artefact, Cache, Digest, Error, Job, JobError, Limit, Limits, Pool, Process, Sandbox,
    Triton, TritonArtefact, TritonSearch, TritonSource,
};

use crate::bench::{Bench, alive, kill, until, within};

const ARCHS: [Arch; 3] = [Arch::SM_80, Arch::SM_90, Arch::SM_100];
/// What the kernel of these tests takes.
const SIGNATURE: &str = "x: *u8@16, y: *fp32@16, n: i32, SCALE: 3, BLOCK: 256";

pub(crate) fn tests() -> Vec<Trial> {
    let tests: [(&str, fn()); 14] = [
        ("cubins_repeat_on_three_devices", cubins_repeat),
        ("launch_record", launch_record),
        ("assembler_for_every_device", assembler_for_every_device),
        ("assemblers_that_do_not_work", wrong_assemblers),
        ("pythons_that_do_not_work", wrong_pythons),
        ("refused_kernels", refused),
        ("crash_spares_the_resident", crash),
        ("limits", limits),
        ("warm", warm),
        ("cancel", cancel),
        ("resident_that_dies", resident_dies),
        ("c_between", c_between),
        ("confined", confined),
        ("cache_hit_starts_no_python", cache_hit),
    ];
    let missing = python().is_none();
    tests
        .into_iter()
        .map(|(name, run)| {
            let trial = crate::test(&format!("triton::{name}"), run);
            if missing {
                trial
                    .with_kind("skipped: PLANISH_TRITON_PYTHON is not set")
                    .with_ignored_flag(true)
            } else {
                trial
            }
        })
        .collect()
}

fn python() -> Option<PathBuf> {
    std::env::var_os("PLANISH_TRITON_PYTHON").map(PathBuf::from)
}

fn search() -> TritonSearch {
    TritonSearch::python(python().expect("PLANISH_TRITON_PYTHON"))
}

fn triton() -> Triton {
    Triton::find(&search(), None).expect("Triton")
}

/// A kernel with `first` before it.
fn source(first: &str) -> TritonSource {
    let text = format!(
        "{first}
import triton
import triton.language as tl


@triton.jit
def scale(x, y, n, SCALE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    codes = tl.load(x + at, mask=at < n, other=0)
    tl.store(y + at, codes.to(tl.float32) * SCALE + 1.0, mask=at < n)
"
    );
    let grid = "cdiv(n, BLOCK)".parse().expect("a grid");
    TritonSource::new(
        text,
        "scale",
        SIGNATURE.parse().expect("a signature"),
        &grid,
    )
    .expect("a source")
}

fn job(first: &str) -> Job {
    Job::triton(&triton(), source(first), Arch::SM_90).named("scale")
}

fn make(pool: &Pool, job: Job) -> Artefact {
    pool.submit(job)
        .wait()
        .unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(pool: &Pool, job: Job) -> JobError {
    match pool.submit(job).wait() {
        Ok(_) => panic!("it is made"),
        Err(error) => error,
    }
}

/// The resident Pythons of a bench's workers, and the processes that they have forked.
fn pythons(bench: &Bench) -> Vec<i32> {
    let scratch = bench.path("scratch").display().to_string();
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split_terminator('\0').skip(1);
            words.any(|word| word.starts_with(&scratch) && word.ends_with("resident.py"))
                && alive(*pid)
        })
        .collect()
}

fn cubins_repeat() {
    let digests = || -> Vec<(Digest, Digest)> {
        let bench = Bench::new();
        let pool = bench.pool(1);
        let triton = triton();
        let made = ARCHS.map(|arch| {
            let artefact = make(&pool, Job::triton(&triton, source(""), arch));
            let kernel = TritonArtefact::read(&artefact.bytes).expect("an artefact");
            (artefact.digest(), kernel.digest())
        });
        drop(pool);
        bench.assert_nothing_left();
        made.to_vec()
    };
    let first = digests();
    assert_eq!(first, digests());
    assert!(first[0].1 != first[1].1 && first[1].1 != first[2].1);
}

fn launch_record() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    let triton = triton();
    for (arch, target) in ARCHS.into_iter().zip(["sm_80", "sm_90a", "sm_100a"]) {
        let artefact = make(&pool, Job::triton(&triton, source("").warps(8), arch));
        let kernel = TritonArtefact::read(&artefact.bytes).expect("an artefact");
        let record = &kernel.record;
        assert_eq!(
            (record.entry.as_str(), record.target.as_str()),
            ("scale", target)
        );
        let arguments = record.arguments.iter();
        let arguments: Vec<String> = arguments
            .map(|argument| {
                format!(
                    "{} {} {} {}",
                    argument.name, argument.ty, argument.bytes, argument.divisor
                )
            })
            .collect();
        assert_eq!(arguments, ["x *u8 8 16", "y *fp32 8 16", "n i32 4 1"]);
        assert_eq!((record.threads(), record.ctas), (256, 1));
        assert_eq!(record.grid.to_string(), "cdiv(n, 256), 1, 1");
        assert_eq!(record.constants.len(), 2);
        assert!(!record.fp_fusion && record.triton == triton.version());
        // The product and the sum are rounded apart: nothing may contract them.
        assert!(
            kernel.ptx.contains("mul.rn.f32") && !kernel.ptx.contains("fma"),
            "{}",
            kernel.ptx
        );
        // No place of this machine is in what is kept.
        for part in [bench.path(""), triton.python().to_owned()] {
            let part = part.display().to_string();
            let bytes = part.as_bytes();
            assert!(!artefact.bytes.windows(bytes.len()).any(|at| at == bytes));
        }
    }
    let fused = make(
        &pool,
        Job::triton(&triton, source("").fp_fusion(true), Arch::SM_80),
    );
    let fused = TritonArtefact::read(&fused.bytes).expect("an artefact");
    assert!(fused.record.fp_fusion && fused.ptx.contains("fma"));
    drop(pool);
    bench.assert_nothing_left();
}

/// An assembler that notes its calls under `word` and passes them on to Triton's own.
fn noting_assembler(bench: &Bench, word: &str, arch: Arch) -> PathBuf {
    let own = triton().ptxas(arch).path().display().to_string();
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *gpu-name*) echo \"{word} $$\" >> DIR/notes ;; esac\nexec {own} \"$@\"\n"
    );
    bench.script(word, &text)
}

fn assembler_for_every_device() {
    let bench = Bench::new();
    let all = noting_assembler(&bench, "all", Arch::SM_100);
    let later = noting_assembler(&bench, "later", Arch::SM_100);
    let pool = bench.pool(1);
    // The compilation that warms Python up calls one of them too.
    let called = |search: TritonSearch, arch| {
        let triton = Triton::find(&search, None).expect("Triton");
        let before = [bench.started("all"), bench.started("later")];
        make(&pool, Job::triton(&triton, source(""), arch));
        [
            bench.started("all") > before[0],
            bench.started("later") > before[1],
        ]
    };
    for arch in ARCHS {
        let search = TritonSearch {
            ptxas: Some(all.clone()),
            ..search()
        };
        assert_eq!(called(search, arch), [true, false], "{arch}");
    }
    for (arch, expected) in ARCHS.into_iter().zip([false, true, true]) {
        let search = TritonSearch {
            ptxas_blackwell: Some(later.clone()),
            ..search()
        };
        // A job for another device would find its Python warm, which has called the assembler.
        let triton = Triton::find(&search, None).expect("Triton");
        assert_eq!(triton.ptxas(arch).path() == later, expected);
        assert_eq!(called(search, arch), [false, expected], "{arch}");
    }
    // Another assembler is another key, and its path is not.
    let key = |search: TritonSearch| {
        let triton = Triton::find(&search, None).expect("Triton");
        Job::triton(&triton, source(""), Arch::SM_90).key()
    };
    let copy = bench.path("copy");
    fs::copy(&all, &copy).expect("copy");
    let with = |ptxas| TritonSearch {
        ptxas: Some(ptxas),
        ..search()
    };
    assert_eq!(key(with(all.clone())), key(with(copy)));
    assert_ne!(key(with(all)), key(search()));
    drop(pool);
    bench.assert_nothing_left();
}

fn wrong_assemblers() {
    let bench = Bench::new();
    let find = |ptxas: &str, later: Option<&str>| {
        let search = TritonSearch {
            ptxas: Some(ptxas.into()),
            ptxas_blackwell: later.map(PathBuf::from),
            ..search()
        };
        Triton::find(&search, None)
    };
    let reason = |found: Result<Triton, Error>| found.expect_err("no ptxas").to_string();
    let error = reason(find("/nonexistent/ptxas", None));
    assert!(
        error.starts_with("use the ptxas /nonexistent/ptxas: No such file"),
        "{error}"
    );
    let error = reason(find("/bin/true", None));
    assert!(error.contains("/bin/true: it answered"), "{error}");
    let own = triton().ptxas(Arch::SM_80).path().display().to_string();
    let error = reason(find(&own, Some("/nonexistent/other")));
    assert!(error.contains("/nonexistent/other"), "{error}");
    // One that goes between the search and the job is not silently replaced either.
    let path = noting_assembler(&bench, "gone", Arch::SM_100);
    let triton = find(path.to_str().expect("a name"), None).expect("Triton");
    fs::remove_file(&path).expect("remove");
    let pool = bench.pool(1);
    for arch in ARCHS {
        let error = refusal(&pool, Job::triton(&triton, source(""), arch));
        assert!(
            matches!(&error, JobError::ToolchainMissing { reason, .. }
                if reason.contains(&format!("{} does not work as ptxas", path.display()))),
            "{error}"
        );
    }
    drop(pool);
    bench.assert_nothing_left();
}

fn wrong_pythons() {
    let bench = Bench::new();
    let reason = |python: PathBuf| {
        let error = Triton::find(&TritonSearch::python(python), None).expect_err("no Triton");
        error.to_string()
    };
    let error = reason("/nonexistent/python".into());
    assert!(error.starts_with("use the Python /nonexistent/python: No such file"));
    let error = reason("python".into());
    assert!(error.contains("it is not in the PATH"), "{error}");
    let bare = bench.script("bare", "#!/bin/sh\necho no module >&2\nexit 1\n");
    let error = reason(bare);
    assert!(error.contains("which Triton it has"), "{error}");
    let old = r#"{"python": "3.12.1", "triton": "3.2.0", "package": "/nonexistent"}"#;
    let old = bench.script("old", &format!("#!/bin/sh\necho '{old}'\n"));
    let error = reason(old);
    assert!(error.contains("it has Triton 3.2.0, and 3.9 is"), "{error}");
}

fn refused() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    let triton = triton();
    let refused = |text: &str, function: &str, signature: &str| {
        let signature = signature.parse().expect("a signature");
        let grid = "1".parse().expect("a grid");
        let source = TritonSource::new(text, function, signature, &grid).expect("a source");
        match refusal(&pool, Job::triton(&triton, source, Arch::SM_80)) {
            JobError::Compile { diagnostics, .. } => diagnostics.to_string(),
            error => panic!("{error}"),
        }
    };
    let text = source("").text().to_owned();
    let error = refused(&text, "other", SIGNATURE);
    assert!(
        error.contains("`other` is not a function under @triton.jit"),
        "{error}"
    );
    let error = refused(&text, "scale", "x: *u8");
    assert!(
        error.contains("`scale` takes (x, y, n, SCALE, BLOCK), and the signature has (x)"),
        "{error}"
    );
    let error = refused(&text, "scale", &SIGNATURE.replace("*fp32", "fp32"));
    assert!(error.contains("Unsupported ptr type"), "{error}");
    let error = refused("def scale(:\n", "scale", SIGNATURE);
    assert!(error.contains("File \"scale.py\", line 1"), "{error}");
    let error = refused("1 / 0", "scale", SIGNATURE);
    assert!(error.contains("ZeroDivisionError"), "{error}");
    let error = refusal(
        &pool,
        Job::triton(&triton, source("").warps(5), Arch::SM_80),
    );
    assert!(error.to_string().contains("5 warps"), "{error}");
    drop(pool);
    bench.assert_nothing_left();
}

fn crash() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    make(&pool, job(""));
    let resident = pythons(&bench);
    assert_eq!(resident.len(), 1);
    let error = refusal(&pool, job("import os\nos.kill(os.getpid(), 11)"));
    assert!(
        matches!(
            &error,
            JobError::Crashed {
                process: Process::Compiler,
                signal: Some(11),
                ..
            }
        ),
        "{error}"
    );
    let error = refusal(&pool, job("import os\nos._exit(0)"));
    assert!(
        matches!(&error, JobError::Protocol { got, .. } if got == "no file"),
        "{error}"
    );
    make(&pool, job("# after that"));
    assert_eq!(pythons(&bench), resident);
    drop(pool);
    bench.assert_nothing_left();
}

fn limits() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    make(&pool, job(""));
    let resident = pythons(&bench);
    let wall = Duration::from_millis(300);
    let child = "import subprocess\nsubprocess.run(['/bin/sleep', '1000'], start_new_session=True)";
    let error = refusal(&pool, job(child).limits(within(wall)));
    assert!(
        matches!(&error, JobError::OverLimit { limit: Limit::Wall(limit), .. } if *limit == wall),
        "{error}"
    );
    let cpu = Duration::from_secs(1);
    let spin = job("while True: pass").limits(Limits {
        cpu,
        ..Limits::default()
    });
    let error = refusal(&pool, spin);
    assert!(
        matches!(&error, JobError::OverLimit { limit: Limit::Cpu(limit), .. } if *limit == cpu),
        "{error}"
    );
    let many = "import os, time\nfor _ in range(40):\n    if os.fork() == 0:\n        time.sleep(1000)\ntime.sleep(1000)";
    let many = job(many).limits(Limits {
        processes: 8,
        ..Limits::default()
    });
    let error = refusal(&pool, many);
    assert!(
        matches!(
            &error,
            JobError::OverLimit {
                limit: Limit::Processes(8),
                ..
            }
        ),
        "{error}"
    );
    let memory = job("hoard = b'x' * (1 << 33)").limits(Limits {
        memory: 1 << 30,
        ..Limits::default()
    });
    let error = refusal(&pool, memory);
    assert!(error.to_string().contains("MemoryError"), "{error}");
    let output = job("open('large', 'wb').write(b'x' * 200_000)").limits(Limits {
        output: 100_000,
        ..Limits::default()
    });
    let error = refusal(&pool, output);
    assert!(error.to_string().contains("File too large"), "{error}");
    make(&pool, job("# after that"));
    assert_eq!(pythons(&bench), resident);
    drop(pool);
    bench.assert_nothing_left();
}

/// Whoever wants Python to be warm before the first kernel comes gives the workers a kernel as their first job.
fn warm() {
    let bench = Bench::new();
    let pool = bench
        .builder(1)
        .in_a_process()
        .first_job(job(""))
        .build()
        .expect("a pool");
    assert!(pythons(&bench).is_empty());
    pool.warm();
    assert!(pool.wait_ready(Duration::from_secs(120)));
    let resident = pythons(&bench);
    assert_eq!(resident.len(), 1);
    make(&pool, job("# after that"));
    assert_eq!(pythons(&bench), resident);
    drop(pool);
    bench.assert_nothing_left();
}

fn cancel() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    make(&pool, job(""));
    let resident = pythons(&bench);
    let started = bench.path("started");
    let sleep = format!(
        "import time\nopen('{}', 'w').close()\ntime.sleep(1000)",
        started.display()
    );
    let ticket = pool.submit(job(&sleep));
    until("the job to begin", || started.exists());
    ticket.cancel();
    assert!(matches!(ticket.wait(), Err(JobError::Cancelled { .. })));
    make(&pool, job("# after that"));
    assert_eq!(pythons(&bench), resident);
    // A job under way and a warm Python go with their pool.
    fs::remove_file(&started).expect("remove");
    let ticket = pool.submit(job(&sleep));
    until("the job to begin", || started.exists());
    drop(pool);
    assert!(matches!(ticket.wait(), Err(JobError::Closed { .. })));
    bench.assert_nothing_left();
    until("every Python to be gone", || pythons(&bench).is_empty());
}

fn resident_dies() {
    let bench = Bench::new();
    let pool = bench.pool(1);
    make(&pool, job(""));
    let resident = pythons(&bench)[0];
    kill(resident);
    // A job that it still takes would fail with it.
    until("Python to be gone", || !alive(resident));
    make(&pool, job("# after that"));
    assert_ne!(pythons(&bench), [resident]);
    // A job that kills it fails alone.
    let error = refusal(&pool, job("import os\nos.kill(os.getppid(), 9)"));
    assert!(
        matches!(&error, JobError::ToolchainMissing { reason, .. }
            if reason.contains("the Python of Triton was killed by SIGKILL (9)")),
        "{error}"
    );
    make(&pool, job("# and after that"));
    drop(pool);
    bench.assert_nothing_left();
}

fn c_between() {
    let bench = Bench::new();
    let pool = bench.pool(2);
    make(&pool, job(""));
    let resident = pythons(&bench);
    for _ in 0..4 {
        pool.submit(bench.job("daemon")).wait().expect("made");
        pool.submit(bench.job("orphan")).wait().expect("made");
        assert!(
            bench.noted("child").iter().all(|pid| !alive(*pid)),
            "a child of a C job is alive"
        );
    }
    assert_eq!(pythons(&bench), resident);
    let worker = bench.workers();
    assert!(!worker.is_empty());
    worker.into_iter().for_each(kill);
    until("Python to be gone with its worker", || {
        pythons(&bench).is_empty() && pool.ready() == 0
    });
    make(&pool, job("# after that"));
    drop(pool);
    bench.assert_nothing_left();
}

fn confined() {
    let bench = Bench::new();
    let pool = bench.builder(1).sandbox(Sandbox::BestEffort);
    let pool = pool.build().expect("a pool");
    let triton = triton();
    for arch in ARCHS {
        make(&pool, Job::triton(&triton, source(""), arch));
    }
    let confinement = pool.confinement().expect("a confinement");
    let secret = bench.path("secret");
    fs::write(&secret, "secret").expect("write");
    if confinement.landlock.is_some() {
        for first in [
            format!("open('{}')", secret.display()),
            format!("open('{}', 'w')", bench.path("mark").display()),
        ] {
            let error = refusal(&pool, job(&first)).to_string();
            assert!(error.contains("PermissionError"), "{error}");
        }
    }
    if confinement.seccomp {
        let error = refusal(&pool, job("import socket\nsocket.socket()")).to_string();
        assert!(error.contains("PermissionError"), "{error}");
    }
    make(&pool, job("# after that"));
    drop(pool);
    bench.assert_nothing_left();
}

fn cache_hit() {
    let bench = Bench::new();
    let pool = |workers| {
        let builder = bench.builder(workers).cache(bench.path("cache"));
        builder.build().expect("a pool")
    };
    let made = make(&pool(2), job(""));
    let again = pool(2);
    let found = make(&again, job(""));
    assert!(found.from_cache && !made.from_cache);
    assert_eq!(found.bytes, made.bytes);
    assert_eq!(again.stats().workers_started, 0);
    drop(again);
    // What was found out of Triton is kept with the kernels.
    let cache = Cache::open(bench.path("cache")).expect("a cache");
    let before = cache.stats().expect("stats").entries;
    let found = Triton::find(&search(), Some(&cache)).expect("Triton");
    assert_eq!(found, triton());
    assert!(cache.stats().expect("stats").entries >= before);
    bench.assert_nothing_left();
}
