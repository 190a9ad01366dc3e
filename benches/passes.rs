//! Every pass of Finalize on its own: on networks of the usual shapes, and on chains of convolutions of growing length.
//!
//! `cargo bench --bench passes`. At the end stands how time grows with length: the factor for twice the length, from one length to the
//! next.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

mod networks;
mod stages;

use std::fmt;
use std::time::Duration;

use divan::Bencher;
use planish::passes::FINALIZE;

use networks::Network;

/// Convolutions in a chain.
const LENGTHS: [usize; 7] = [250, 500, 1_000, 2_000, 5_000, 10_000, 20_000];

fn main() {
    divan::main();
    let is_measured = std::env::args().skip(1).all(|word| word == "--bench");
    if is_measured {
        growth();
    }
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

/// Prints each pass's time for every length, and the factor by which it grows when the length doubles.
fn growth() {
    println!("\nmilliseconds for {LENGTHS:?} layers, and the factors for twice the length");
    let times: Vec<Vec<Duration>> = LENGTHS
        .map(|layers| stages::times(Network::Chain(layers)))
        .into();
    for (pass, of) in FINALIZE.iter().enumerate() {
        let times: Vec<f64> = times.iter().map(|times| millis(times[pass])).collect();
        let figures: Vec<String> = times.iter().map(|time| format!("{time:9.2}")).collect();
        let figures = figures.concat();
        let lengths = LENGTHS
            .windows(2)
            .map(|pair| pair[1] as f64 / pair[0] as f64);
        let factors = times.windows(2).zip(lengths);
        let factors = factors.map(|(pair, longer)| (pair[1] / pair[0]).powf(1.0 / longer.log2()));
        let factors: Vec<String> = factors.map(|factor| format!("{factor:6.2}")).collect();
        let factors = factors.concat();
        println!("  {:24}{figures}  {factors}", of.name());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
