//! Instructions that each pass of Finalize takes, and verification after it, counted by valgrind: the same on every run, and at most 2 %
//! above `instructions.tsv`.
//!
//! `cargo bench --bench instructions`. It needs valgrind, and `gungraun-runner` in the version that `Cargo.lock` has of gungraun. What is
//! counted depends on the compiler and on the C library, so `instructions.tsv` begins with those that it is of, and holds for them alone.
//! `tools/instructions.py` writes it anew.
//!
//! Channels are divided by eight: what is counted is the work on the graph, and little of that on weights.

#![expect(missing_docs, reason = "the macros make public items")]

mod networks;
mod stages;

use std::process::Command;
use std::sync::LazyLock;

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

/// The module as all passes leave it.
fn finalized(network: Network) -> GraphModule {
    let mut module = network.build(THINNESS);
    stages::run_all(FINALIZE, &mut module);
    module
}

/// No more than 2 % above the baseline; no limit for what has none yet, and none on another machine.
fn limit(pass: &str, network: &str) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::default();
    let name = format!("{pass}\t{network}\t");
    let mut counts = BASELINE.lines().filter(|_| is_of_this_machine());
    let count: Option<u64> = counts.find_map(|line| line.strip_prefix(&name)?.parse().ok());
    callgrind.hard_limits(count.map(|count| (EventKind::Ir, count + count / 50)));
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

/// Whether the baseline was counted with this compiler and this C library.
fn is_of_this_machine() -> bool {
    static IS: LazyLock<bool> = LazyLock::new(|| {
        let says = |program: &str| {
            let output = Command::new(program).arg("--version").output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            Some(text.lines().next()?.to_owned())
        };
        let machine = [says("rustc"), says("ldd")].into_iter().flatten();
        machine.eq(BASELINE.lines().take(2).map(str::to_owned))
    });
    *IS
}

macro_rules! passes {
    ($($pass:ident)*) => {
        $(
            #[library_benchmark]
            #[bench::chain1000(args = (stringify!($pass), Network::Chain(1000)), setup = prepared, config = limit(stringify!($pass), "chain1000"))]
            #[bench::chain4000(args = (stringify!($pass), Network::Chain(4000)), setup = prepared, config = limit(stringify!($pass), "chain4000"))]
            #[bench::resnet18(args = (stringify!($pass), Network::ResNet18), setup = prepared, config = limit(stringify!($pass), "resnet18"))]
            #[bench::resnet50(args = (stringify!($pass), Network::ResNet50), setup = prepared, config = limit(stringify!($pass), "resnet50"))]
            #[bench::mobilenet_v2(args = (stringify!($pass), Network::MobileNetV2), setup = prepared, config = limit(stringify!($pass), "mobilenet_v2"))]
            #[bench::densenet121(args = (stringify!($pass), Network::DenseNet121), setup = prepared, config = limit(stringify!($pass), "densenet121"))]
            fn $pass((pass, mut module): (&'static dyn Pass, GraphModule)) -> GraphModule {
                stages::run(pass, &mut module);
                module
            }
        )*

        #[library_benchmark]
        #[bench::chain1000(args = (Network::Chain(1000)), setup = finalized, config = limit("verification", "chain1000"))]
        #[bench::resnet50(args = (Network::ResNet50), setup = finalized, config = limit("verification", "resnet50"))]
        #[bench::densenet121(args = (Network::DenseNet121), setup = finalized, config = limit("verification", "densenet121"))]
        fn verification(module: GraphModule) -> GraphModule {
            planish::ir::verify(&module).expect("the passes keep the laws");
            module
        }

        library_benchmark_group!(name = finalize, benchmarks = [$($pass,)* verification]);
    };
}

passes!(inline clear_profiling insert_prepack_unpack quant_motion quant_fusion freeze fold_prepack);
main!(library_benchmark_groups = finalize);
