//! `planish finalize --in-child`: the whole of it in a process of its own.

use std::env;
use std::io::Write;
use std::time::Instant;

use planish::Target;
use planish::offload::{Offload, Outcome};
use planish::pool::wire::{Level, Note};
use planish::pool::{Observer, Pool, Report, Status};

use crate::args;
use crate::console::{grouped, say};
use crate::diagnose::{Failure, failed};
use crate::environment;
use crate::finalize::print_written;
use crate::progress::Progress;
use crate::record::{Record, write_counters};

/// Says what the child says: warnings, and with `--remarks` everything.
struct Log {
    least: Level,
}

impl Observer for Log {
    fn report(&self, report: &Report) {
        if let Status::Note {
            note: Note::Log { level, text, .. },
            ..
        } = &report.status
            && *level <= self.least
        {
            say(text);
        }
    }
}

/// Finalizes a model in a child process.
pub fn finalize(
    args: &args::Finalize,
    record: &Record,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let Some(output) = &args.output else {
        return Err(Failure::usage(
            "--in-child needs a file for the artefact (-o)",
        ));
    };
    let progress = Progress::new();
    progress.show("finalize");
    let least = if args.remarks {
        Level::Debug
    } else {
        Level::Warn
    };
    let ears = ((progress.clone(), Log { least }), record.trace());
    let mut builder = Pool::builder().workers(1).in_a_process().observer(ears);
    builder = builder
        .worker(environment::worker()?)
        .sandbox(args.compiler.sandbox);
    if let Some(cache) = environment::cache(&args.compiler)? {
        builder = builder.cache(cache);
    }
    let pool = builder.build().map_err(|error| failed(&error))?;
    let target = Target {
        isa: args.isa,
        ..Target::host()
    };
    let threads = args
        .compiler
        .jobs
        .map_or_else(environment::processors, usize::from);
    let offload = Offload::file(&args.model, target)
        .output(output)
        .quant_type(args.quant_type.into())
        .preserve(args.preserve.iter().cloned())
        .min_coverage(args.min_coverage)
        .compiler(args.compiler.cc.clone(), threads);
    let began = Instant::now();
    let spanning = record.span("finalize");
    let made = pool.submit(offload.job(env::vars_os())).wait();
    drop(spanning);
    progress.finish();
    write_counters(args.counters.as_deref(), &pool)?;
    let made = made.map_err(|error| failed(&error))?;
    let outcome = Outcome::of(&made).map_err(Failure::internal)?;
    let (passes, kernels) = (outcome.passes.len(), grouped(outcome.kernels));
    let (model, time) = (args.model.display(), began.elapsed().as_secs_f64());
    writeln!(
        out,
        "{model}: {passes} passes, {kernels} kernels in a child process, {time:.2} s"
    )?;
    writeln!(out, "{}", outcome.coverage_text)?;
    print_written(output, out)
}
