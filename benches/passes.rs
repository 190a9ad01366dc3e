//! Every pass of Finalize on its own: on a small network, and on chains of convolutions of growing length.
//!
//! `cargo bench --bench passes`. At the end stands how time grows with length: linearly means with a power of 1, quadratically of 2.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use divan::Bencher;
use planish::ir::{
    At, Class, ClassKind, DType, Graph, GraphModule, Literal, Op, QParams, Sym, Tensor, Type,
    ValueId,
};
use planish::passes::{FINALIZE, Fuel, NoKernels, Options, Pass, PassCx, Pipeline, Remarks};

/// Convolutions in a chain.
const LENGTHS: [usize; 4] = [250, 500, 1000, 2000];

/// Runs for a figure of growth, of which the fastest counts.
const RUNS: usize = 15;

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

#[derive(Clone, Copy)]
enum Network {
    Digits,
    Chain(usize),
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pass = FINALIZE[self.pass].name();
        match self.network {
            Network::Digits => write!(f, "{pass}, digits"),
            Network::Chain(layers) => write!(f, "{pass}, {layers} layers"),
        }
    }
}

fn cases() -> Vec<Case> {
    let networks = [Network::Digits]
        .into_iter()
        .chain(LENGTHS.map(Network::Chain));
    let networks: Vec<Network> = networks.collect();
    let cases = (0..FINALIZE.len()).flat_map(|pass| {
        networks.iter().map(move |network| Case {
            pass,
            network: *network,
        })
    });
    cases.collect()
}

#[divan::bench(args = cases(), sample_count = 10, sample_size = 1)]
fn pass(bencher: Bencher<'_, '_>, case: Case) {
    let module = prepared(case);
    bencher
        .with_inputs(|| module.clone())
        .bench_refs(|module| run(FINALIZE[case.pass], module));
}

/// All passes, each verified, as Finalize runs them.
#[divan::bench(args = LENGTHS, sample_count = 5, sample_size = 1)]
fn pipeline(bencher: Bencher<'_, '_>, layers: usize) {
    let module = chain(layers);
    bencher
        .with_inputs(|| module.clone())
        .bench_refs(|module| run_all(FINALIZE, module));
}

/// Prints each pass's time for every length and how it grows from one to the next, which is twice as long.
fn growth() {
    println!(
        "\nmilliseconds for {LENGTHS:?} layers, and the power of the length that they grow with"
    );
    for (pass, of) in FINALIZE.iter().enumerate() {
        let times = LENGTHS.map(|layers| {
            let module = prepared(Case {
                pass,
                network: Network::Chain(layers),
            });
            let once = || {
                let mut module = module.clone();
                let start = Instant::now();
                run(*of, &mut module);
                start.elapsed()
            };
            (0..RUNS).map(|_| once()).min().unwrap_or_default()
        });
        let figures = times.map(|time| format!("{:9.2}", millis(time)));
        let [first, .., last] = times;
        let doublings = (LENGTHS.len() - 1) as f64;
        let power = (millis(last) / millis(first)).log2() / doublings;
        println!("  {:24}{}   {power:.2}", of.name(), figures.concat());
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The module as the pass finds it: the passes before it have run.
fn prepared(case: Case) -> GraphModule {
    let mut module = match case.network {
        Network::Digits => {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits/digits_int8.pt");
            planish::import::open(file).expect("the example is read")
        }
        Network::Chain(layers) => chain(layers),
    };
    run_all(&FINALIZE[..case.pass], &mut module);
    module
}

fn run(pass: &dyn Pass, module: &mut GraphModule) {
    with_cx(|cx| {
        pass.run(module, cx).expect("the pass runs");
    });
}

fn run_all(passes: &[&'static dyn Pass], module: &mut GraphModule) {
    with_cx(|cx| {
        let reports = Pipeline::new(passes).run(module, cx, &mut ());
        reports.expect("the passes run");
    });
}

fn with_cx(run: impl FnOnce(&mut PassCx<'_>)) {
    let (mut remarks, mut fuel) = (Remarks::default(), Fuel::unlimited());
    run(&mut PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut fuel,
        options: &Options::default(),
        observer: None,
    });
}

/// A chain of convolutions with relu, quantized as PyTorch leaves them: float operators between quantize and dequantize.
fn chain(layers: usize) -> GraphModule {
    let name = Sym::new("__torch__.Chain");
    let mut module = GraphModule::new(name, "chain");
    let mut class = Class::new(ClassKind::Module);
    let mut graph = Graph::new();
    let entry = graph.entry();
    let this = graph.add_param(entry, Type::Class(name));
    let x = graph.add_param(entry, Type::TENSOR);
    let mut body = Body {
        graph: &mut graph,
        this,
    };
    let mut attrs = Vec::new();
    let mut value = body.quantized("s", "z", 13, x);
    attrs.push(("s".to_owned(), Literal::Float(0.05)));
    attrs.push(("z".to_owned(), Literal::Int(64)));
    for layer in 0..layers {
        let weight = format!("w{layer}");
        attrs.push((weight.clone(), Literal::Tensor(codes(layer))));
        value = body.layer(&weight, value);
    }
    graph.set_results(entry, &[value]);
    let root = module.root();
    for (attr, literal) in attrs {
        let attr = Sym::new(&attr);
        class.fields.insert(attr, literal.ty());
        module.module_mut(root).attrs.insert(attr, literal);
    }
    module.classes.insert(name, class);
    let params = ["self", "x"].map(|param| (Sym::new(param), None)).to_vec();
    module.add_method(name, Sym::new("forward"), params, graph);
    module
}

/// The weight of a 1 by 1 convolution from 4 channels to 4.
fn codes(layer: usize) -> Tensor {
    let codes: Vec<u8> = (0..16).map(|at| (layer * 7 + at * 5) as u8).collect();
    let tensor = Tensor::new(DType::QInt8, &[4, 4, 1, 1], codes).expect("16 codes");
    let qparams = QParams::PerTensor {
        scale: 0.01,
        zero_point: 0,
    };
    tensor.with_qparams(qparams).expect("codes have a scale")
}

struct Body<'g> {
    graph: &'g mut Graph,
    this: ValueId,
}

impl Body<'_> {
    fn node(&mut self, op: &str, inputs: &[ValueId], ty: Type) -> ValueId {
        let entry = self.graph.entry();
        let node = self.graph.insert(At::End(entry), Op::of(op), inputs, [ty]);
        self.graph.output(node)
    }

    fn constant(&mut self, literal: Literal) -> ValueId {
        let entry = self.graph.entry();
        self.graph.insert_constant(At::End(entry), literal)
    }

    fn attr(&mut self, name: &str, ty: Type) -> ValueId {
        let value = self.node("prim::GetAttr", &[self.this], ty);
        let node = self.graph.producer(value).expect("a node has computed it");
        self.graph.set_attr(node, "name", Literal::str(name));
        value
    }

    fn quantized(&mut self, scale: &str, zero: &str, code: i64, x: ValueId) -> ValueId {
        let inputs = [
            x,
            self.attr(scale, Type::Float),
            self.attr(zero, Type::Int),
            self.constant(Literal::Int(code)),
        ];
        self.node("aten::quantize_per_tensor", &inputs, Type::TENSOR)
    }

    fn layer(&mut self, weight: &str, x: ValueId) -> ValueId {
        let weight = self.attr(weight, Type::TENSOR);
        let [x, weight] =
            [x, weight].map(|codes| self.node("aten::dequantize.self", &[codes], Type::TENSOR));
        let one = self.constant(Literal::Int(1));
        let zero = self.constant(Literal::Int(0));
        let bias = self.constant(Literal::None);
        let [stride, padding, dilation] = [one, zero, one]
            .map(|side| self.node("prim::ListConstruct", &[side, side], Type::list(Type::Int)));
        let inputs = [x, weight, bias, stride, padding, dilation, one];
        let y = self.node("aten::conv2d", &inputs, Type::TENSOR);
        let y = self.node("aten::relu", &[y], Type::TENSOR);
        self.quantized("s", "z", 13, y)
    }
}
