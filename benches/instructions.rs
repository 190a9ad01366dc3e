//! Instructions that each pass of Finalize takes, counted by valgrind: the same on every run, and at most 2 % above `instructions.tsv`.
//!
//! `cargo bench --bench instructions`. It needs valgrind, and `cargo install gungraun-runner` in the version that `Cargo.toml` names of
//! gungraun. Compilers count differently: `instructions.tsv` names the one it is of. `tools/instructions.py` writes it anew.
//!
//! Channels are divided by eight: what is counted is the work on the graph, and little of that on weights.

#![expect(missing_docs, reason = "the macros make public items")]

mod networks;
#[expect(dead_code, reason = "times are for the other benches")]
mod stages;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};
use planish::ir::GraphModule;
use planish::passes::{FINALIZE, Pass};

use networks::Network;

/// Instructions of each pass on each network, as they were when they were last looked at.
const BASELINE: &str = include_str!("instructions.tsv");

const THINNESS: i64 = 8;

/// The module as the pass finds it: the passes before it have run.
fn prepared(name: &str, network: Network) -> (&'static dyn Pass, GraphModule) {
    // With threads, how much is counted would depend on who finds work first.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1);
    let _ = one.use_current_thread().build_global();
    let place = FINALIZE
        .iter()
        .position(|pass| pass.name().replace('-', "_") == name);
    let place = place.expect("the passes below are those of Finalize");
    let mut module = network.build(THINNESS);
    stages::run_all(&FINALIZE[..place], &mut module);
    (FINALIZE[place], module)
}

/// No more than 2 % above the baseline; no limit for what has none yet.
fn limit(pass: &str, network: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    let count = BASELINE.lines().find_map(|line| {
        let count = line.strip_prefix(pass)?.strip_prefix('\t')?;
        count
            .strip_prefix(network)?
            .strip_prefix('\t')?
            .parse()
            .ok()
    });
    let count: Option<u64> = count;
    callgrind.hard_limits(count.map(|count| (EventKind::Ir, count + count / 50)));
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

macro_rules! passes {
    ($($pass:ident)*) => {
        $(
            #[library_benchmark]
            #[bench::chain1000(args = (stringify!($pass), Network::Chain(1000)), setup = prepared, config = limit(stringify!($pass), "chain1000"))]
            #[bench::resnet18(args = (stringify!($pass), Network::ResNet18), setup = prepared, config = limit(stringify!($pass), "resnet18"))]
            #[bench::resnet50(args = (stringify!($pass), Network::ResNet50), setup = prepared, config = limit(stringify!($pass), "resnet50"))]
            #[bench::mobilenet_v2(args = (stringify!($pass), Network::MobileNetV2), setup = prepared, config = limit(stringify!($pass), "mobilenet_v2"))]
            #[bench::densenet121(args = (stringify!($pass), Network::DenseNet121), setup = prepared, config = limit(stringify!($pass), "densenet121"))]
            fn $pass((pass, mut module): (&'static dyn Pass, GraphModule)) -> GraphModule {
                stages::run(pass, &mut module);
                module
            }
        )*
        library_benchmark_group!(name = finalize, benchmarks = [$($pass),*]);
    };
}

passes!(inline clear_profiling insert_prepack_unpack quant_fusion freeze fold_prepack);
main!(library_benchmark_groups = finalize);
