//! The bench on which modules are compiled and compared.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use planish::Kernels;
use planish::eval::{Contract, Interpreter, Value};
use planish::ir::text::parse_module;
use planish::ir::{GraphModule, Literal, Phase};
use planish::kernels::{Isa, Kernel, Unit};
use planish::passes::KernelSink as _;
use planish::pool::{Artefact, Job, JobError};
use planish::prelude::*;
use planish::runtime::{Entry, Library, Parts, Program, Stats};

/// A compiler and the processes that run it, for all tests of this program.
struct Bench {
    pool: Pool,
    toolchain: Toolchain,
    isas: Vec<Isa>,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels");
    // The argument by which a program of planish learns that a pool has started it.
    let worker = WorkerCommand::verb(env!("CARGO_BIN_EXE_planish"), "--planish-worker");
    let pool = Pool::builder().worker(worker).cache(cache).build();
    let search = ToolchainSearch {
        explicit: None,
        cc: std::env::var_os("CC"),
        path: std::env::var_os("PATH"),
    };
    let (isas, missing): (Vec<Isa>, Vec<Isa>) =
        Isa::ALL.into_iter().partition(|isa| isa.is_supported());
    for isa in missing {
        let line = format!("SKIPPED {isa}: this processor does not run it\n");
        // Not captured with the tests' output, so that nobody takes it for tested.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    Bench {
        pool: pool.expect("there is room for a pool"),
        toolchain: Toolchain::find(&search).expect("there is a C compiler"),
        isas,
    }
});

/// The instruction sets that this processor runs.
pub(crate) fn isas() -> &'static [Isa] {
    &BENCH.isas
}

/// A module with its program for each instruction set.
pub(crate) struct Compiled {
    pub(crate) module: GraphModule,
    pub(crate) programs: Vec<(Isa, Program)>,
}

impl Compiled {
    /// Compiles a module that is written as text.
    pub(crate) fn new(text: &str) -> Self {
        let module = parse_module(text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        let programs = isas().iter().map(|isa| (*isa, program(&module, *isa)));
        Self {
            programs: programs.collect(),
            module,
        }
    }

    /// Compiles a module, every tensor operator of which has a kernel.
    pub(crate) fn whole(text: &str) -> Self {
        let compiled = Self::new(text);
        for (isa, program) in &compiled.programs {
            assert_eq!(program.fallbacks(), [], "{isa}\n{text}");
        }
        compiled
    }

    /// Calls every program and the evaluator, and compares what they answer; returns what the programs did.
    pub(crate) fn compare(&self, what: &str, inputs: &[Value]) -> Stats {
        let mut evaluator = Interpreter::new(&self.module, Contract::Fbgemm);
        let expected = evaluator
            .call_method("forward", inputs)
            .unwrap_or_else(|error| panic!("{what}: the evaluator: {error}"));
        let mut all = Vec::new();
        for (isa, program) in &self.programs {
            let mut stats = Stats::default();
            let found = program
                .call_with(inputs, &mut stats)
                .unwrap_or_else(|error| panic!("{what}, {isa}: {}", chain(&error)));
            same(&format!("{what}, {isa}"), &found, &expected);
            all.push(stats);
        }
        assert!(
            all.windows(2).all(|pair| pair[0] == pair[1]),
            "{what}: {all:?}"
        );
        all.pop().expect("every processor runs one instruction set")
    }

    /// The same for inputs that every kernel takes.
    pub(crate) fn compare_all_taken(&self, what: &str, inputs: &[Value]) -> Stats {
        let stats = self.compare(what, inputs);
        assert_eq!(stats.not_taken, [], "{what}");
        assert_eq!(stats.evaluated_macs, 0, "{what}");
        stats
    }

    /// What each program says of inputs that it refuses.
    pub(crate) fn refusals(&self, inputs: &[Value]) -> Vec<String> {
        let programs = self.programs.iter();
        programs
            .map(|(isa, program)| match program.call(inputs) {
                Ok(answer) => panic!("{isa}: it answers {answer}"),
                Err(error) => chain(&error),
            })
            .collect()
    }
}

/// Compiles kernels on their own.
pub(crate) fn compile(kernel: Kernel) -> Entry {
    let artefact = wait(job(&kernel, kernel.source()));
    let artefact = artefact.unwrap_or_else(|error| panic!("{kernel}: {error}"));
    load(&[kernel], &artefact).remove(0)
}

/// The job that compiles `source` as a kernel.
pub(crate) fn job(kernel: &Kernel, source: String) -> Job {
    Job::cc(&BENCH.toolchain, source, kernel.flags()).named(kernel.to_string())
}

/// The job that compiles a unit.
pub(crate) fn unit_job(unit: &Unit) -> Job {
    Job::cc(&BENCH.toolchain, unit.source(), unit.flags()).named(unit.to_string())
}

/// Has a job done.
pub(crate) fn wait(job: Job) -> Result<Artefact, JobError> {
    BENCH.pool.submit(job).wait()
}

fn program(module: &GraphModule, isa: Isa) -> Program {
    let contract = planish::kernels::Contract::Fbgemm;
    let mut kernels = Kernels::new(&BENCH.pool, &BENCH.toolchain, isa, contract, &[]);
    // What the texts hold is what runs, as in a module that is finalized.
    let mut module = module.clone();
    module.phase = Phase::Folded;
    let module = &module;
    kernels.pass_ended("text", module);
    let attrs = &module.module(module.root()).attrs;
    for value in attrs.values() {
        if let Literal::Packed(params) = value {
            kernels.pack(params).expect("a weight is packed");
        }
    }
    let compiled = kernels
        .finish()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    let mut packed = HashMap::new();
    for (name, value) in attrs {
        let Literal::Packed(params) = value else {
            continue;
        };
        let weights = kernels.packed().iter();
        for weight in weights.filter(|weight| Arc::ptr_eq(&weight.params, params)) {
            packed.insert(*name, weight.bytes.clone());
        }
    }
    let parts = Parts {
        module,
        contract: Contract::Fbgemm,
        kernels: compiled
            .iter()
            .flat_map(|unit| load(&unit.kernels, &unit.artefact))
            .collect(),
        evaluated: Vec::new(),
        packed,
    };
    Program::new(parts).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

fn load(kernels: &[Kernel], artefact: &Artefact) -> Vec<Entry> {
    let digest = blake3::Hash::from_bytes(*artefact.digest().as_bytes());
    let library = Library::load(&artefact.bytes, &digest, kernels);
    let entries = library.and_then(|library| {
        kernels
            .iter()
            .map(|kernel| library.entry(*kernel))
            .collect()
    });
    entries.unwrap_or_else(|error| panic!("{kernels:?}: {}", chain(&error)))
}

/// Fails unless both are the same values: tensors to the bit, to the stride and to the scale.
pub(crate) fn same(what: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Tuple(found), Value::Tuple(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (at, (found, expected)) in found.iter().zip(expected.iter()).enumerate() {
                same(&format!("{what}, output {at}"), found, expected);
            }
        }
        (Value::Tensor(found), Value::Tensor(expected)) => {
            let header = |tensor: &planish::eval::Tensor| {
                format!(
                    "{tensor:?} strides {:?} {:?}",
                    tensor.strides(),
                    tensor.qparams()
                )
            };
            assert_eq!(header(found), header(expected), "{what}");
            let bytes = |tensor: &planish::eval::Tensor| tensor.to_ir().map(|ir| ir.bytes());
            let (a, b) = (
                bytes(found).expect("a tensor"),
                bytes(expected).expect("a tensor"),
            );
            let differ: Vec<_> = (0..a.len()).filter(|at| a[*at] != b[*at]).collect();
            assert!(
                differ.is_empty(),
                "{what}: {} of {} bytes differ in {}; at {}: {} for {}",
                differ.len(),
                a.len(),
                header(found),
                differ[0],
                a[differ[0]],
                b[differ[0]]
            );
        }
        _ => panic!("{what}: {} for {}", found.kind(), expected.kind()),
    }
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
