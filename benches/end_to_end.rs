//! The whole line on the example network: import, finalize with compiled kernels at hand, load the artefact, run. Medians of one process.
//!
//! `cargo bench --bench end_to_end`. The program is its own worker.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use planish::Artefact;
use planish::check::{Samples, check};
use planish::eval::{Contract, Interpreter, Tensor, Value};
use planish::pool::enter_if_asked;
use planish::prelude::*;
use planish::runtime::Stats;

/// Runs for each figure.
const RUNS: usize = 15;

fn main() -> ExitCode {
    if let Some(code) = enter_if_asked(&planish::selftest::handlers()) {
        return code;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits");
    let model = folder.join("digits_int8.pt");
    let samples = Samples::open(&folder.join("digits_test.safetensors"))?;
    let scratch = tempfile::tempdir()?;
    let toolchain = Toolchain::find(&ToolchainSearch {
        explicit: None,
        cc: std::env::var_os("CC"),
        path: std::env::var_os("PATH"),
    })?;
    let pool = Pool::builder()
        .worker(WorkerCommand::this_program()?)
        .cache(scratch.path().join("kernels"))
        .build()?;
    let finalize = Finalize::for_target(Target::host()).compiler(&pool, &toolchain);

    let start = Instant::now();
    let finalized = finalize.run(planish::import::open(&model)?)?;
    line("import and finalize, nothing compiled", start.elapsed());
    line("import", median(|| Ok(planish::import::open(&model)?))?);
    let module = planish::import::open(&model)?;
    line(
        "finalize, kernels from the cache",
        median(|| Ok(finalize.run(module.clone())?))?,
    );
    let path: PathBuf = scratch.path().join("digits.planish");
    line("write the artefact", median(|| Ok(finalized.save(&path)?))?);
    line(
        "open it and load its kernels",
        median(|| Ok(Artefact::open(&path)?.program()?))?,
    );

    let program = Artefact::open(&path)?.program()?;
    let mut stats = Stats::default();
    let found = check(&program, &samples, &mut stats)?;
    println!(
        "  {} images, {} values, {} differ from PyTorch's",
        found.inputs, found.values, found.mismatches
    );
    let all = samples.values();
    line(
        &format!("run {} images at once", found.inputs),
        median(|| Ok(program.call(&all)?))?,
    );
    let one = [first_row(&all[0])?];
    line("run one image", median(|| Ok(program.call(&one)?))?);
    let mut evaluator = Interpreter::new(&finalized.module, Contract::Fbgemm);
    line(
        "one image by the reference evaluator",
        median(|| Ok(evaluator.call_method("forward", &one)?))?,
    );
    Ok(())
}

/// The first image of a batch.
fn first_row(batch: &Value) -> Result<Value, Box<dyn Error>> {
    let batch: &Tensor = batch
        .as_tensor()
        .ok_or("read the samples: the input is no tensor")?;
    Ok(batch.slice(0, 0, 1, 1)?.into())
}

/// The middle of the times of a run; dropping what it gives does not count.
fn median<T>(
    mut run: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        let result = run()?;
        times.push(start.elapsed());
        drop(result);
    }
    times.sort();
    Ok(times[RUNS / 2])
}

fn line(what: &str, time: Duration) {
    println!("  {what:<40}{:>12.1} µs", time.as_secs_f64() * 1e6);
}
