//! `planish finalize`: from a model to an artefact.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use planish::check::{Check, Samples, check};
use planish::report::Report;
use planish::runtime::Stats;
use planish::{Finalize, Finalized, Target};

use crate::args;
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::progress::Progress;

/// Finalizes a model.
pub fn finalize(args: &args::Finalize) -> Result<(), Failure> {
    let mut target = Target::host();
    if args.isa != "host" {
        target.isa = args.isa.parse().map_err(|error| failed(&error))?;
    }
    // What is not there is said before any work is done.
    let samples = args
        .check
        .as_deref()
        .map(Samples::open)
        .transpose()
        .map_err(|error| failed(&error))?;
    let mut progress = Progress::new();
    let toolchain = environment::toolchain(&args.compiler)?;
    let pool = environment::pool(&args.compiler, Some(progress.clone()))?;
    progress.say("reading");
    let began = Instant::now();
    let module = environment::read_module(&args.model)?;
    let import = began.elapsed();
    let began = Instant::now();
    let finalize = Finalize::for_target(target)
        .compiler(&pool, &toolchain)
        .quant_type(args.quant_type.into())
        .preserve(args.preserve.iter().cloned());
    let finalized = finalize
        .run_with(module, &mut progress)
        .map_err(|error| failed(&error))?;
    let seconds = began.elapsed();
    let program = finalized.program().map_err(|error| failed(&error))?;
    let input = args.model.display().to_string();
    let stats = pool.stats();
    let mut report = Report::new(
        &finalized,
        &input,
        &toolchain,
        (pool.workers(), &stats),
        import,
        program.fallbacks(),
    );
    if let Some(samples) = &samples {
        progress.say("checking");
        let mut counted = Stats::default();
        let found = check(&program, samples, &mut counted).map_err(|error| failed(&error))?;
        report.checked(found, &counted);
    }
    progress.finish();
    if args.remarks {
        for remark in finalized.remarks.entries() {
            eprintln!("{remark}");
        }
    }
    summarize(&finalized, &report, seconds.as_secs_f64());
    if let Some(path) = &args.output {
        finalized.save(path).map_err(|error| failed(&error))?;
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        println!("wrote {} ({} KiB)", path.display(), size.div_ceil(1024));
    }
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|error| failed(&error))?;
        write(path, &json)?;
    }
    match &report.check {
        Some(check) if check.mismatches > 0 => Err(Failure::input(format!(
            "{} of {} values differ",
            check.mismatches, check.values
        ))),
        _ => Ok(()),
    }
}

fn summarize(finalized: &Finalized, report: &Report, seconds: f64) {
    let kernels = &report.kernels;
    println!(
        "{}: {} passes and {} kernels ({} compiled, {} from the cache, {} no longer needed) in {:.0} ms",
        report.input,
        finalized.passes.len(),
        kernels.requested,
        kernels.compiled,
        kernels.from_cache,
        kernels.cancelled,
        seconds * 1e3
    );
    if let Some(check) = &report.check {
        print_check(check);
    }
    match report.coverage {
        Some(1.0) => println!("all multiply-accumulates in integer kernels"),
        Some(share) => println!(
            "{:.2} % of the multiply-accumulates in integer kernels",
            share * 100.0
        ),
        None => {}
    }
    print_fallbacks(report.fallbacks.iter().map(|entry| {
        (
            entry.node.as_str(),
            entry.operator.as_str(),
            entry.reason.as_str(),
        )
    }));
}

/// What a comparison found, in one line.
pub fn print_check(check: &Check) {
    print!(
        "{} inputs, {} values, {} mismatches",
        check.inputs, check.values, check.mismatches
    );
    if check.mismatches > 0 {
        print!(" (largest difference {})", check.max_abs_diff);
    }
    match check.accuracy {
        Some(accuracy) => println!(", accuracy {accuracy:.3}"),
        None => println!(),
    }
}

/// The operators that run without a kernel, a line each.
pub fn print_fallbacks<'a>(fallbacks: impl ExactSizeIterator<Item = (&'a str, &'a str, &'a str)>) {
    if fallbacks.len() == 0 {
        println!("no fallback");
        return;
    }
    println!("{} operators run without a kernel:", fallbacks.len());
    for (node, operator, reason) in fallbacks {
        println!("  {operator} {node}: {reason}");
    }
}

/// Writes a file, all of it or nothing.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        Failure::input(format!("failed to write {}: {error}", path.display()))
    };
    let mut file = tempfile::Builder::new()
        .prefix(".planish-")
        .tempfile_in(directory)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
