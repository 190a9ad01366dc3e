//! Every pass of Finalize on its own, on networks of the usual shapes: `cargo bench --bench passes`. How time grows with the length of a
//! network is measured by `benches/peers/finalize.py`, in processes that do nothing else.

mod networks;
mod stages;

use std::fmt;

use divan::Bencher;
use planish::passes::FINALIZE;

use networks::Network;

fn main() {
    divan::main();
}

/// A pass and what it runs on.
#[derive(Clone, Copy)]
struct Case {
    pass: usize,
    network: Network,
}

const NETWORKS: [Network; 5] = [
    Network::ResNet18,
    Network::ResNet50,
    Network::MobileNetV2,
    Network::DenseNet121,
    Network::Chain(1_000),
];

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", FINALIZE[self.pass].name(), self.network)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let networks = |pass| NETWORKS.map(|network| Case { pass, network });
    (0..FINALIZE.len()).flat_map(networks)
}

#[divan::bench(args = cases(), sample_count = 10, sample_size = 1)]
fn pass(bencher: Bencher<'_, '_>, case: Case) {
    let mut module = case.network.build(1);
    stages::run_all(&FINALIZE[..case.pass], &mut module);
    bencher
        .with_inputs(|| module.clone())
        .bench_refs(|module| stages::run(FINALIZE[case.pass], module));
}

/// All passes, each verified, as Finalize runs them.
#[divan::bench(args = NETWORKS, sample_count = 10, sample_size = 1)]
fn pipeline(bencher: Bencher<'_, '_>, network: Network) {
    let module = network.build(1);
    bencher
        .with_inputs(|| module.clone())
        .bench_refs(|module| stages::run_all(FINALIZE, module));
}
