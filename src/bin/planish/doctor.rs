//! `planish doctor`: looks for what finalizing needs.

use std::time::{Duration, Instant};

use planish::Target;
use planish::kernels::{Kernel, KernelSpec};
use planish::pool::{Job, Pool};

use crate::args::Compiler;
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::progress::Progress;

/// Looks for the compiler, shows the instruction set, tries a worker and a kernel.
pub fn doctor(args: &Compiler) -> Result<(), Failure> {
    let target = Target::host();
    println!("planish      {}", env!("CARGO_PKG_VERSION"));
    println!("kernels      {} ({} contract)", target.isa, target.contract);
    match environment::cache(args)? {
        Some(directory) => println!("cache        {}", directory.display()),
        None => println!("cache        none"),
    }
    let pool = environment::pool(args, None::<Progress>)?;
    println!("workers      {}", pool.workers());
    let trip = handshake(&pool)?;
    println!("worker       answers in {} µs", trip.as_micros());
    let toolchain = environment::toolchain(args)?;
    println!(
        "compiler     {} {} for {}",
        toolchain.compiler().display(),
        toolchain.version(),
        toolchain.machine()
    );
    let kernel = Kernel::new(KernelSpec::Lut, target.contract, target.isa)
        .map_err(|error| failed(&error))?;
    let job = Job::cc(
        &toolchain,
        kernel.source(),
        target.isa.flags().iter().copied(),
    )
    .named(kernel.to_string());
    let artefact = pool.submit(job).wait().map_err(|error| failed(&error))?;
    let from = if artefact.from_cache {
        "from the cache"
    } else {
        "compiled"
    };
    println!(
        "kernel       {kernel}: {} bytes, {from}",
        artefact.bytes.len()
    );
    println!("all is well");
    Ok(())
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
        return Err(Failure {
            message: "a worker answered something else than what it was sent".to_owned(),
            code: 3,
        });
    }
    Ok(began.elapsed())
}
