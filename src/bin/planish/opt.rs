//! `planish opt`: runs passes over a module and prints what comes out.

use planish::ir::GraphModule;
use planish::passes::{
    Fuel, Instrument, NoKernels, Options, Pass, PassCx, PassReport, Pipeline, Remarks,
};

use crate::args;
use crate::diagnose::{Failure, failed};
use crate::environment;

/// Runs passes.
pub fn opt(args: &args::Opt) -> Result<(), Failure> {
    let mut module = environment::read_module(&args.input)?;
    let pipeline = match &args.passes {
        Some(text) => Pipeline::parse(text).map_err(|error| failed(&error))?,
        None => Pipeline::new(planish::passes::FINALIZE),
    };
    for name in &args.print_after {
        // A name that is not a pass is a mistake worth a message.
        Pipeline::parse(name).map_err(|error| failed(&error))?;
    }
    let options = Options {
        quant_type: args.quant_type.into(),
        preserved: args.preserve.clone(),
        ..Options::default()
    };
    let mut remarks = Remarks::default();
    let mut cx = PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut args.fuel.map_or_else(Fuel::unlimited, Fuel::limited),
        options: &options,
    };
    let reports = pipeline.run(&mut module, &mut cx, &mut Dump { args });
    if args.remarks {
        for remark in remarks.entries() {
            eprintln!("{remark}");
        }
    }
    let reports = reports.map_err(|error| failed(&error))?;
    if args.timing {
        for report in &reports {
            let micros = (report.end - report.start).as_micros();
            eprintln!(
                "{micros:>9} µs  {:>7} rewrites  {:>7} nodes  {}",
                report.rewrites, report.nodes_after, report.name
            );
        }
    }
    print!("{}", environment::module_text(&module, args.elements));
    Ok(())
}

/// Prints the module after passes.
struct Dump<'a> {
    args: &'a args::Opt,
}

impl Instrument for Dump<'_> {
    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, report: &PassReport) {
        let asked = self.args.print_after.iter().any(|name| name == pass.name());
        if asked || (self.args.print_changed && report.rewrites > 0) {
            eprintln!("# after {}", pass.name());
            eprint!("{}", environment::module_text(module, self.args.elements));
        }
    }
}
