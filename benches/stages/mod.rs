//! Running passes to measure them.

use planish::ir::GraphModule;
use planish::passes::{Fuel, NoKernels, Options, Pass, PassCx, PassReport, Pipeline, Remarks};

/// Runs one pass alone.
pub(crate) fn run(pass: &dyn Pass, module: &mut GraphModule) {
    with_cx(|cx| {
        pass.run(module, cx).expect("the pass runs");
    });
}

/// Runs passes as Finalize does, the module verified before and after; no kernels are asked for.
pub(crate) fn run_all(passes: &[&'static dyn Pass], module: &mut GraphModule) -> Vec<PassReport> {
    with_cx(|cx| {
        let reports = Pipeline::new(passes).run(module, cx, &mut ());
        reports.expect("the passes run")
    })
}

fn with_cx<R>(run: impl FnOnce(&mut PassCx<'_>) -> R) -> R {
    let (mut remarks, mut fuel) = (Remarks::default(), Fuel::unlimited());
    run(&mut PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut fuel,
        options: &Options::default(),
        observer: None,
    })
}
