//! `planish doctor`: looks for what finalizing needs.

use std::io::Write;
use std::time::{Duration, Instant};

use planish::Target;
use planish::kernels::{Kernel, KernelSpec};
use planish::pool::{Job, Pool};
use planish::runtime::Library;

use crate::args::Compiler;
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::progress::Progress;

/// Looks for the compiler, shows the instruction set, tries a worker and a kernel.
pub fn doctor(args: &Compiler, out: &mut impl Write) -> Result<(), Failure> {
    let target = Target::host();
    writeln!(out, "planish      {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "kernels      {} ({} contract)",
        target.isa, target.contract
    )?;
    match environment::cache(args)? {
        Some(directory) => writeln!(out, "cache        {}", directory.display())?,
        None => writeln!(out, "cache        none")?,
    }
    let pool = environment::pool(args, None::<Progress>)?;
    let trip = handshake(&pool)?.as_micros();
    match pool.workers() {
        1 => writeln!(out, "workers      none: kernels are compiled directly")?,
        many => writeln!(out, "workers      {many}, one answered in {trip} µs")?,
    }
    let confinement = pool.confinement().map_err(|error| failed(&error))?;
    writeln!(out, "sandbox      {} gives {confinement}", args.sandbox)?;
    let toolchain = environment::toolchain(args)?;
    writeln!(
        out,
        "compiler     {} {} for {}",
        toolchain.compiler().display(),
        toolchain.version(),
        toolchain.machine()
    )?;
    let kernel = Kernel::new(KernelSpec::Lut, target.contract, target.isa)
        .map_err(|error| failed(&error))?;
    let flags = target.isa.flags().iter().copied();
    let job = Job::cc(&toolchain, kernel.source(), flags).named(kernel.to_string());
    let artefact = pool.submit(job).wait().map_err(|error| failed(&error))?;
    let digest = (*artefact.digest.as_bytes()).into();
    Library::load(&artefact.bytes, &digest, &[kernel])
        .and_then(|library| library.entry(kernel))
        .map_err(|error| failed(&error))?;
    let from = if artefact.from_cache {
        "from the cache"
    } else {
        "compiled"
    };
    let size = artefact.bytes.len().div_ceil(1024);
    writeln!(out, "kernel       {kernel}: {size} KiB, {from}, loads")?;
    Ok(writeln!(out, "all is well")?)
}

/// Starts a worker, then measures one trip to it and back.
fn handshake(pool: &Pool) -> Result<Duration, Failure> {
    let echo = || {
        pool.submit(Job::echo(b"planish".to_vec(), Duration::ZERO))
            .wait()
            .map_err(|error| failed(&error))
    };
    echo()?;
    let began = Instant::now();
    let artefact = echo()?;
    if &*artefact.bytes != b"planish" {
        return Err(Failure::internal(
            "a worker answered something else than what it was sent",
        ));
    }
    Ok(began.elapsed())
}
