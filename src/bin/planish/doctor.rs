//! `planish doctor`: looks for what finalizing needs, and for what kernels for devices need.
//!
//! It goes on after what is missing, so that one run tells all of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use planish::Target;
use planish::kernels::{Kernel, KernelSpec};
use planish::pool::{Arch, Cache, Job, Pool, Toolchain, Triton};
use planish::runtime::Library;
use serde_json::{Map, Value, json};

use crate::args::Doctor as Args;
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::progress::Progress;
use crate::triton;

/// What is found of one thing: a line for a reader, and the same for a program.
type Found = Result<(String, Value), Failure>;

/// Digits of a digest that a reader sees.
const SHORT: usize = 16;

/// Looks for everything, and fails if something that finalizing needs is not there.
pub fn doctor(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let mut report = Report {
        out,
        json: args.json.then(Map::new),
        missing: Vec::new(),
    };
    report.tell("planish", Ok(planish()))?;
    report.tell("machine", Ok(machine()))?;
    report.tell("kernels", Ok(kernels()))?;
    report.tell("cache", cache(args))?;
    let pool = report.have(environment::pool(&args.compiler, None::<Progress>));
    if let Some(pool) = &pool {
        report.tell("workers", workers(pool))?;
        report.tell("sandbox", sandbox(args, pool))?;
    }
    let toolchain = report.have(environment::toolchain(&args.compiler));
    if let Some(toolchain) = &toolchain {
        report.tell("compiler", Ok(compiler(toolchain)))?;
        if let Some(pool) = &pool {
            report.tell("kernel", kernel(pool, toolchain))?;
        }
    }
    report.tell("triton", devices(args))?;
    report.end()
}

/// What was told so far.
struct Report<'o, W> {
    out: &'o mut W,
    json: Option<Map<String, Value>>,
    missing: Vec<String>,
}

impl<W: Write> Report<'_, W> {
    /// Tells of one thing, or remembers that it is missing.
    fn tell(&mut self, topic: &str, found: Found) -> Result<(), Failure> {
        let Some((text, value)) = self.have(found) else {
            return Ok(());
        };
        if let Some(json) = &mut self.json {
            json.insert(topic.to_owned(), value);
            return Ok(());
        }
        let mut topic = topic;
        for line in text.lines() {
            writeln!(self.out, "{topic:<12} {line}")?;
            topic = "";
        }
        Ok(())
    }

    fn have<T>(&mut self, found: Result<T, Failure>) -> Option<T> {
        found
            .map_err(|failure| self.missing.push(failure.message))
            .ok()
    }

    fn end(mut self) -> Result<(), Failure> {
        let well = self.missing.is_empty();
        if let Some(mut json) = self.json.take() {
            json.insert("missing".to_owned(), json!(self.missing));
            json.insert("well".to_owned(), json!(well));
            let text = serde_json::to_string_pretty(&json).unwrap_or_default();
            writeln!(self.out, "{text}")?;
        } else if well {
            writeln!(self.out, "all is well")?;
        }
        if well {
            Ok(())
        } else {
            Err(Failure::input(self.missing.join("\n")))
        }
    }
}

fn planish() -> (String, Value) {
    let version = env!("CARGO_PKG_VERSION");
    (version.to_owned(), json!({ "version": version }))
}

fn machine() -> (String, Value) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    };
    let (total, available) = (kib("MemTotal"), kib("MemAvailable"));
    let memory = match (total, available) {
        (Some(total), Some(available)) => {
            let gib = |kib: u64| kib as f64 / f64::from(1 << 20);
            format!("{:.1} GiB, {:.1} of it free", gib(total), gib(available))
        }
        _ => "of a size that /proc/meminfo does not tell".to_owned(),
    };
    (
        format!("{processors} processors, memory {memory}"),
        json!({
            "processors": processors,
            "memory_kib": total,
            "available_kib": available,
        }),
    )
}

fn kernels() -> (String, Value) {
    let target = Target::host();
    let (isa, contract) = (target.isa.to_string(), target.contract.to_string());
    (
        format!("{isa} ({contract} contract)"),
        json!({ "isa": isa, "contract": contract }),
    )
}

fn cache(args: &Args) -> Found {
    let Some(directory) = environment::cache(&args.compiler)? else {
        return Ok(("none".to_owned(), Value::Null));
    };
    let cache = Cache::open(&directory).map_err(|error| failed(&error))?;
    let unreadable = |error| Failure::file("read", &directory, &error);
    let stats = cache.stats().map_err(unreadable)?;
    let mode = fs::metadata(&directory)
        .map_err(unreadable)?
        .permissions()
        .mode()
        & 0o7777;
    Ok((
        format!(
            "{}, mode {mode:04o}, {} entries, {} KiB",
            directory.display(),
            stats.entries,
            stats.bytes.div_ceil(1024)
        ),
        json!({
            "directory": directory.display().to_string(),
            "mode": format!("{mode:04o}"),
            "entries": stats.entries,
            "bytes": stats.bytes,
            "set_aside": stats.set_aside,
        }),
    ))
}

/// Starts a worker, then measures one trip to it and back.
fn workers(pool: &Pool) -> Found {
    let echo = || {
        pool.submit(Job::echo(b"planish".to_vec(), Duration::ZERO))
            .wait()
            .map_err(|error| failed(&error))
    };
    echo()?;
    let began = Instant::now();
    let artefact = echo()?;
    let trip = began.elapsed().as_micros() as u64;
    if &*artefact.bytes != b"planish" {
        return Err(Failure::internal(
            "a worker answered something else than what it was sent",
        ));
    }
    let text = match pool.workers() {
        1 => "none: kernels are compiled directly".to_owned(),
        many => format!("{many}, one answered in {trip} µs"),
    };
    Ok((
        text,
        json!({ "count": pool.workers(), "round_trip_us": trip }),
    ))
}

fn sandbox(args: &Args, pool: &Pool) -> Found {
    let wished = args.compiler.sandbox;
    let reached = pool.confinement().map_err(|error| failed(&error))?;
    Ok((
        format!("{wished} gives {reached}"),
        json!({ "wished": wished.to_string(), "reached": reached.to_string() }),
    ))
}

fn compiler(toolchain: &Toolchain) -> (String, Value) {
    let path = toolchain.compiler().display();
    let digest = toolchain.fingerprint().to_string();
    (
        format!(
            "{path} {} for {}\ndigest {}",
            toolchain.version(),
            toolchain.machine(),
            &digest[..SHORT]
        ),
        json!({
            "path": path.to_string(),
            "version": toolchain.version(),
            "machine": toolchain.machine(),
            "digest": digest,
        }),
    )
}

/// Compiles a kernel and loads it.
fn kernel(pool: &Pool, toolchain: &Toolchain) -> Found {
    let target = Target::host();
    let kernel = Kernel::new(KernelSpec::Lut, target.contract, target.isa)
        .map_err(|error| failed(&error))?;
    let job = Job::cc(toolchain, kernel.source(), kernel.flags()).named(kernel.to_string());
    let artefact = pool.submit(job).wait().map_err(|error| failed(&error))?;
    let digest = (*artefact.digest().as_bytes()).into();
    Library::load(&artefact.bytes, &digest, &[kernel])
        .and_then(|library| library.entry(kernel))
        .map_err(|error| failed(&error))?;
    let from = if artefact.from_cache {
        "from the cache"
    } else {
        "compiled"
    };
    let size = artefact.bytes.len();
    Ok((
        format!("{kernel}: {} KiB, {from}, loads", size.div_ceil(1024)),
        json!({
            "name": kernel.to_string(),
            "bytes": size,
            "from_cache": artefact.from_cache,
        }),
    ))
}

/// Triton is needed for devices alone: only one that was named must be there, and so must an assembler.
fn devices(args: &Args) -> Found {
    let cache = environment::cache(&args.compiler)?;
    let triton = match triton::find(args.python.as_deref(), cache.clone()) {
        Ok(triton) => triton,
        Err(failure) if triton::is_named(args.python.as_deref()) => return Err(failure),
        Err(failure) => {
            triton::check_assemblers(cache)?;
            let reason = failure.message.lines().next().unwrap_or_default();
            return Ok((
                format!("none, and none is needed but for devices ({reason})"),
                json!({ "found": false, "reason": reason }),
            ));
        }
    };
    let mut lines = vec![format!(
        "{} on {} {}, digest {}",
        triton.version(),
        triton.python().display(),
        triton.python_version(),
        &triton.digest()[..SHORT.min(triton.digest().len())]
    )];
    let mut assemblers = Map::new();
    for arch in triton::ARCHS {
        let ptxas = triton.ptxas(arch);
        let (path, version) = (ptxas.path().display(), ptxas.version());
        lines.push(format!("{arch}: ptxas {version}, {path}"));
        assemblers.insert(arch.to_string(), assembler(&triton, arch));
    }
    Ok((
        lines.join("\n"),
        json!({
            "found": true,
            "python": triton.python().display().to_string(),
            "python_version": triton.python_version(),
            "version": triton.version(),
            "digest": triton.digest(),
            "ptxas": assemblers,
        }),
    ))
}

fn assembler(triton: &Triton, arch: Arch) -> Value {
    let ptxas = triton.ptxas(arch);
    json!({
        "path": ptxas.path().display().to_string(),
        "version": ptxas.version(),
        "digest": ptxas.digest(),
    })
}
