//! `planish opt`: runs passes over a module and prints what comes out.

use std::io::Write;

use planish::ir::GraphModule;
use planish::passes::{
    Fuel, Instrument, NoKernels, Observer, Options, Pass, PassCx, PassReport, Pipeline, Prover,
    Remarks,
};

use crate::args;
use crate::console::say;
use crate::diagnose::{Failure, pipeline_failed};
use crate::environment;
use crate::proof;
use crate::record::Record;

/// Runs passes.
pub fn opt(args: &args::Opt, out: &mut impl Write) -> Result<(), Failure> {
    if let Some(folder) = &args.replay {
        return proof::replay(folder, out);
    }
    // A name that is not a pass is a mistake worth a message, before anything is read.
    let mut pipeline = match &args.passes {
        Some(text) => Pipeline::parse(text).map_err(|error| pipeline_failed(&error))?,
        None => Pipeline::new(planish::passes::FINALIZE),
    };
    if args.verify_each {
        pipeline = pipeline.verify_each();
    }
    for name in &args.print_after {
        Pipeline::parse(name).map_err(|error| pipeline_failed(&error))?;
    }
    let Some(input) = &args.input else {
        return Err(Failure::usage("no module is given"));
    };
    let record = Record::new(args.trace.as_deref())?;
    let reading = record.span("import");
    let mut module = environment::read_module(input)?;
    drop(reading);
    let options = Options {
        quant_type: args.quant_type.into(),
        preserved: args.preserve.clone(),
        ..Options::default()
    };
    let inputs = args.prove.as_deref().map(proof::inputs).transpose()?;
    let mut prover = inputs.map(|inputs| Prover::new(&options, inputs));
    let mut remarks = Remarks::default();
    let mut cx = PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut args.fuel.map_or_else(Fuel::unlimited, Fuel::limited),
        options: &options,
        observer: prover.as_mut().map(|prover| prover as &mut dyn Observer),
    };
    let watching = record.span("passes");
    let reports = pipeline.run(&mut module, &mut cx, &mut (Dump { args }, record.trace()));
    drop(watching);
    if args.remarks {
        for remark in remarks.entries() {
            say(remark);
        }
    }
    if let Some(prover) = &prover {
        if let Some(found) = prover.counterexample() {
            return Err(proof::disproved(found, &args.counterexample));
        }
        say(prover.proof());
    }
    let reports = reports.map_err(|error| pipeline_failed(&error))?;
    if let Some(prover) = &prover {
        proof::answered(prover.proof())?;
    }
    if args.timing {
        for report in &reports {
            let micros = report.end.saturating_sub(report.start).as_micros();
            say(format_args!(
                "{micros:>9} µs  {:>7} rewrites  {:>7} nodes  {}",
                report.rewrites, report.nodes_after, report.name
            ));
        }
    }
    Ok(out.write_all(environment::module_text(&module, args.print).as_bytes())?)
}

/// Prints the module after passes.
struct Dump<'a> {
    args: &'a args::Opt,
}

impl Instrument for Dump<'_> {
    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, report: &PassReport) {
        let asked = self.args.print_after.iter().any(|name| name == pass.name());
        if asked || (self.args.print_changed && report.rewrites > 0) {
            say(format_args!("# after {}", pass.name()));
            say(environment::module_text(module, self.args.print).trim_end());
        }
    }
}
