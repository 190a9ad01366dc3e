//! `planish finalize`: from a model to an artefact.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use planish::check::{Check, Samples, check};
use planish::pool::Pool;
use planish::report::{FallbackEntry, Report};
use planish::runtime::Stats;
use planish::{Finalize, FinalizeError, Finalized, Target, file};

use crate::args;
use crate::child;
use crate::console::{count, grouped, say};
use crate::diagnose::{Failure, failed, pipeline_failed};
use crate::environment;
use crate::progress::Progress;
use crate::proof;
use crate::record::{Record, write_counters};

/// Finalizes a model.
pub fn finalize(args: &args::Finalize, out: &mut impl Write) -> Result<(), Failure> {
    // What is not there is said before any work is done.
    let files = args.output.iter().chain(&args.report);
    for path in files.chain(&args.counters) {
        file::check_place(path).map_err(|error| Failure::file("write", path, &error))?;
    }
    // Older than the pool, whose end it tells.
    let record = Record::new(args.trace.as_deref())?;
    if args.in_child {
        return child::finalize(args, &record, out);
    }
    let samples = args.check.as_deref().map(samples).transpose()?;
    let proven = args.prove.as_deref().map(proof::inputs).transpose()?;
    let progress = Progress::new();
    progress.show("import");
    let began = Instant::now();
    let reading = record.span("import");
    let module = environment::read_module(&args.model)?;
    drop(reading);
    let import = began.elapsed();
    let toolchain = environment::toolchain(&args.compiler)?;
    let pool = environment::pool(&args.compiler, Some((progress.clone(), record.trace())))?;
    let target = Target {
        isa: args.isa,
        ..Target::host()
    };
    let began = Instant::now();
    let mut finalize = Finalize::for_target(target)
        .compiler(&pool, &toolchain)
        .quant_type(args.quant_type.into())
        .preserve(args.preserve.iter().cloned())
        .min_coverage(args.min_coverage);
    if let Some(inputs) = proven {
        finalize = finalize.prove(inputs);
    }
    let finalizing = record.span("finalize");
    let finalized = finalize.run_with(module, &mut (progress.clone(), record.trace()));
    drop(finalizing);
    write_counters(args.counters.as_deref(), &pool)?;
    let finalized = finalized.map_err(|error| {
        let failure = match &error {
            FinalizeError::Pipeline(error) => pipeline_failed(error),
            FinalizeError::Disproved { found } => proof::disproved(found, &args.counterexample),
            _ => failed(&error),
        };
        if pool.stats().failed == 0 {
            return failure;
        }
        let compiler = toolchain.compiler().display();
        failure.hint(format!(
            "the compiler is {compiler}; `planish doctor` tries it alone"
        ))
    })?;
    let time = began.elapsed();
    if let Some(proof) = &finalized.proof {
        proof::answered(proof)?;
    }
    let loading = record.span("load");
    let program = finalized.program().map_err(|error| failed(&error))?;
    drop(loading);
    let mut report = Report::new(
        &finalized,
        &args.model.display().to_string(),
        &toolchain,
        pool.workers(),
        import,
        program.fallbacks(),
        pool.stats(),
    );
    if let Some(samples) = &samples {
        progress.show("check");
        let _checking = record.span("check");
        let mut stats = Stats::default();
        let found = check(&program, samples, &mut stats).map_err(|error| failed(&error))?;
        report.checked(found, &stats);
    }
    if args.report.is_some() && pool.stats().compiled > 0 {
        report.confined(pool.confinement().map_err(|error| failed(&error))?);
    }
    progress.finish();
    if args.remarks {
        for remark in finalized.remarks.entries() {
            say(remark);
        }
    }
    complain(&pool);
    if let Some(path) = &args.output {
        let _saving = record.span("save");
        finalized.save(path).map_err(|error| failed(&error))?;
    }
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report).map_err(|error| failed(&error))?;
        file::write_whole(path, &json).map_err(|error| Failure::file("write", path, &error))?;
    }
    summarize(&finalized, &report, time, out)?;
    for path in args.output.iter().chain(&args.report).chain(&args.counters) {
        print_written(path, out)?;
    }
    report.check.as_ref().map_or(Ok(()), judge)
}

/// Samples that a check can compare with.
fn samples(path: &Path) -> Result<Samples, Failure> {
    let samples = Samples::open(path).map_err(|error| failed(&error))?;
    if samples.expected.is_empty() {
        let path = path.display();
        return Err(Failure::input(format!(
            "failed to check with {path}: it has no tensor expected.0 to compare with"
        )));
    }
    Ok(samples)
}

/// What went wrong with the cache and cost time only.
fn complain(pool: &Pool) {
    let stats = pool.stats();
    if stats.cache_corrupt > 0 {
        let many = stats.cache_corrupt;
        say(format_args!(
            "planish: {many} units of kernels in the cache were damaged and are made again"
        ));
    }
    if stats.cache_unwritten > 0 {
        let (many, reason) = (
            stats.cache_unwritten,
            stats.cache_complaint.unwrap_or_default(),
        );
        say(format_args!(
            "planish: {many} units of kernels could not be kept in the cache: {reason}"
        ));
    }
}

fn summarize(
    finalized: &Finalized,
    report: &Report,
    time: Duration,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let kernels = &report.kernels;
    let made: Vec<String> = [
        (kernels.compiled, "compiled"),
        (kernels.from_cache, "from the cache"),
        (kernels.cancelled, "not needed any more"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{} {what}", grouped(count)))
    .collect();
    let made = if made.is_empty() {
        String::new()
    } else {
        format!(" ({})", made.join(", "))
    };
    writeln!(
        out,
        "{}: {}, {} in {}{made}, {:.2} s",
        report.input,
        count(finalized.passes.len(), "pass"),
        count(kernels.requested, "kernel"),
        count(kernels.units, "unit"),
        time.as_secs_f64()
    )?;
    if let Some(proof) = &finalized.proof {
        writeln!(out, "{proof}")?;
    }
    writeln!(out, "{}", finalized.coverage)?;
    for kernel in finalized.degraded() {
        let because = kernel.because.as_deref().unwrap_or_default();
        let because = because.lines().next().unwrap_or_default();
        writeln!(
            out,
            "slower than it could be: {} ({}), since planish failed to {because}",
            kernel.kernel, kernel.rung
        )?;
    }
    if let Some(check) = &report.check {
        print_check(check, out)?;
    }
    if let Some(coverage) = report.coverage {
        print_coverage(coverage, out)?;
    }
    print_fallbacks(&report.fallbacks, out)
}

/// What a comparison found, in one line.
pub fn print_check(check: &Check, out: &mut impl Write) -> Result<(), Failure> {
    write!(
        out,
        "{}, {}, {}",
        count(check.inputs, "input"),
        count(check.values, "value"),
        count(check.mismatches, "mismatch")
    )?;
    if check.mismatches > 0 {
        write!(out, " (largest difference {})", check.max_abs_diff)?;
    }
    if let Some(accuracy) = check.accuracy {
        write!(out, ", accuracy {accuracy:.3}")?;
    }
    Ok(writeln!(out)?)
}

/// How much of the arithmetic runs in kernels, in one line.
pub fn print_coverage(share: f64, out: &mut impl Write) -> Result<(), Failure> {
    if share == 1.0 {
        return Ok(writeln!(
            out,
            "all multiply-accumulates in integer kernels"
        )?);
    }
    let percent = share * 100.0;
    Ok(writeln!(
        out,
        "{percent:.2} % of the multiply-accumulates in integer kernels"
    )?)
}

/// The operators that run without a kernel: a line for those of one operator that have one reason, with the place of the first.
pub fn print_fallbacks(fallbacks: &[FallbackEntry], out: &mut impl Write) -> Result<(), Failure> {
    match fallbacks.len() {
        0 => return Ok(writeln!(out, "no fallback")?),
        1 => writeln!(out, "1 operator runs without a kernel:")?,
        many => writeln!(out, "{} operators run without a kernel:", grouped(many))?,
    }
    let mut alike: IndexMap<_, Vec<&FallbackEntry>> = IndexMap::new();
    for entry in fallbacks {
        let key = (&entry.operator, &entry.reason);
        alike.entry(key).or_default().push(entry);
    }
    for ((operator, reason), entries) in alike {
        let more = match entries.len() {
            1 => String::new(),
            many => format!(" and {}", count(many - 1, "other place")),
        };
        let first = &entries[0].node;
        writeln!(out, "  {operator} at {first}{more}: {reason}")?;
    }
    Ok(())
}

/// Says that a file was written, and how large it is.
pub fn print_written(path: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let size = std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(writeln!(
        out,
        "wrote {} ({} KiB)",
        path.display(),
        grouped(size.div_ceil(1024) as usize)
    )?)
}

/// Outputs that differ are a failure.
pub fn judge(check: &Check) -> Result<(), Failure> {
    if check.mismatches == 0 {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{} of {} values differ from those expected",
        grouped(check.mismatches),
        grouped(check.values)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_without_a_kernel_are_told_by_kind() {
        let entry = |node: &str, operator: &str| FallbackEntry {
            node: node.to_owned(),
            operator: operator.to_owned(),
            reason: "no kernel computes it".to_owned(),
        };
        let (norm, gelu) = ("quantized::batch_norm", "aten::gelu");
        let entries = [entry("net.py:3:4", norm), entry("%x", gelu)];
        let entries = [&entries[..], &[entry("net.py:9:4", norm)]].concat();
        let mut out = Vec::new();
        print_fallbacks(&entries, &mut out).expect("a vector takes what is written");
        assert_eq!(
            String::from_utf8_lossy(&out),
            "3 operators run without a kernel:\n  \
             quantized::batch_norm at net.py:3:4 and 1 other place: no kernel computes it\n  \
             aten::gelu at %x: no kernel computes it\n"
        );
    }
}
