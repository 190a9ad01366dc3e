//! Running passes to measure them.

use std::time::Duration;

use planish::ir::GraphModule;
use planish::passes::{
    FINALIZE, Fuel, NoKernels, Options, Pass, PassCx, PassReport, Pipeline, Remarks,
};

use crate::networks::Network;

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

/// What each pass of Finalize takes on a network, on what the pass before it has just left, as when a model is finalized: the least of a few
/// runs, of which small networks get more.
pub(crate) fn times(network: Network) -> Vec<Duration> {
    let runs = match network {
        Network::Chain(layers) => (40_000 / layers.max(1)).clamp(3, 20),
        _ => 10,
    };
    let module = network.build(1);
    let mut least = vec![Duration::MAX; FINALIZE.len()];
    for _ in 0..runs {
        let reports = run_all(FINALIZE, &mut module.clone());
        for (least, report) in least.iter_mut().zip(reports) {
            *least = (*least).min(report.end.saturating_sub(report.start));
        }
    }
    least
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
