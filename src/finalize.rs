//! The public entry: from a module to a finalized one with its kernels.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use planish_ir::{GraphModule, Literal, Op, Sym};
use planish_kernels::{Contract, Isa, Kernel};
use planish_passes::analysis::codes::mixed;
use planish_passes::{
    ClearProfiling, Counterexample, Coverage, FinalizeOnDevice, Fuel, Instrument, KernelSink,
    NoKernels, Observer, Options, Pass, PassCx, PassReport, Pipeline, PipelineError, Proof, Prover,
    QuantType, Remarks, kept_methods, node_text,
};
use planish_pool::{Pool, Toolchain};
use planish_runtime::{Parts, Program, RunError};

use crate::artefact::{Artefact, ArtefactError};
use crate::pipeline::{CompiledUnit, KernelError, Kernels, RequestReport, load};
use crate::rung::Rung;

/// What a module is finalized for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instruction set of its kernels.
    pub isa: Isa,
    /// The arithmetic that outputs follow.
    pub contract: Contract,
}

/// Finalizes modules.
///
/// ```no_run
/// use planish::prelude::*;
///
/// # fn example(
/// #     pool: &Pool,
/// #     toolchain: &Toolchain,
/// #     x: planish::eval::Value,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let finalized = Finalize::for_target(Target::host()).compiler(pool, toolchain).run(planish::import::open("m.pt")?)?;
/// let y = finalized.program()?.call(&[x])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Finalize<'p> {
    target: Target,
    compiler: Option<(&'p Pool, &'p Toolchain)>,
    options: Options,
    /// Arguments of `forward` to prove rewrites with.
    proof: Option<Vec<Literal>>,
    /// The least share of what multiplies that must be computed on codes.
    min_coverage: f64,
}

/// A finalized module, its kernels, and how it came about.
#[derive(Debug)]
pub struct Finalized {
    /// The module.
    pub module: GraphModule,
    /// What it was finalized for.
    pub target: Target,
    /// Compiled kernels.
    pub kernels: Vec<CompiledUnit>,
    /// Weights in the order that kernels read them in, by attribute of the root.
    pub packed: Vec<(Sym, Kernel, Bytes)>,
    /// What passes did, and what they declined to do.
    pub remarks: Remarks,
    /// What is computed on codes, and what stays in float and why.
    pub coverage: Coverage,
    /// What was proven of the passes, when that was asked for.
    pub proof: Option<Proof>,
    /// The passes.
    pub passes: Vec<PassReport>,
    /// What became of every kernel that was asked for.
    pub requests: Vec<RequestReport>,
}

/// Why a module could not be finalized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinalizeError {
    /// A pass failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A pass changed what the module means.
    #[error("prove {}: {found}", found.pass)]
    Disproved {
        /// What shows it.
        found: Box<Counterexample>,
    },
    /// A kernel could not be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An operator is left that no kernel computes and that has no meaning.
    #[error(
        "find a meaning for {op} at {place}: no kernel computes it, and the reference evaluator does not know it"
    )]
    NoMeaning {
        /// The operator.
        op: String,
        /// Where it stands in the source, or what it computes.
        place: String,
    },
    /// An operator reads quantized tensors and others, and computes only what is all one or the other.
    #[error(
        "compute {node}: {codes} is quantized and {plain} is not; dequantize the one, or quantize the other"
    )]
    Mixed {
        /// The operator and what it computes, with its place.
        node: String,
        /// A quantized operand.
        codes: String,
        /// One that is not.
        plain: String,
    },
    /// Too much stays in float.
    #[error("quantize at least {:.1} % of what multiplies:\n{coverage}", least * 100.0)]
    Coverage {
        /// The share that was asked for.
        least: f64,
        /// What is computed on codes, and what is not.
        coverage: Coverage,
    },
    /// Kernels are asked for and nothing is there to compile them.
    #[error("compile kernels: no pool was given (`Finalize::compiler`)")]
    NoCompiler,
}

impl Target {
    /// This machine, with FBGEMM's arithmetic.
    pub fn host() -> Self {
        Self {
            isa: Isa::host(),
            contract: Contract::Fbgemm,
        }
    }
}

impl<'p> Finalize<'p> {
    /// Finalizes for `target`, statically quantized, with `forward` alone kept.
    pub fn for_target(target: Target) -> Self {
        Self {
            target,
            compiler: None,
            options: Options::default(),
            proof: None,
            min_coverage: 0.0,
        }
    }

    /// Has kernels compiled by `pool` with `toolchain`.
    #[must_use]
    pub fn compiler(mut self, pool: &'p Pool, toolchain: &'p Toolchain) -> Self {
        self.compiler = Some((pool, toolchain));
        self
    }

    /// How activations were quantized.
    #[must_use]
    pub fn quant_type(mut self, quant_type: QuantType) -> Self {
        self.options.quant_type = quant_type;
        self
    }

    /// Refuses a module of whose operators that multiply weights or matrices a smaller share is computed on codes.
    #[must_use]
    pub fn min_coverage(mut self, least: f64) -> Self {
        self.min_coverage = least;
        self
    }

    /// Keeps attributes, submodules and methods, named by dotted paths from the root.
    #[must_use]
    pub fn preserve(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options
            .preserved
            .extend(names.into_iter().map(Into::into));
        self
    }

    /// Proves every single rewrite on the way, on these arguments of `forward` and on variations of them; see
    /// [`Prover`](planish_passes::Prover). It takes many times as long.
    #[must_use]
    pub fn prove(mut self, inputs: Vec<Literal>) -> Self {
        self.proof = Some(inputs);
        self
    }

    /// Finalizes a module.
    pub fn run(&self, module: GraphModule) -> Result<Finalized, FinalizeError> {
        self.run_with(module, &mut ())
    }

    /// Finalizes a module while `instrument` watches the passes.
    pub fn run_with(
        &self,
        mut module: GraphModule,
        instrument: &mut dyn Instrument,
    ) -> Result<Finalized, FinalizeError> {
        let (pool, toolchain) = self.compiler.ok_or(FinalizeError::NoCompiler)?;
        let _span = tracing::info_span!("finalize", isa = %self.target.isa).entered();
        // One compile thread means that kernels are compiled directly: there is nothing to start ahead of time.
        pool.warm();
        let mut sink = Kernels::new(
            pool,
            toolchain,
            self.target.isa,
            self.target.contract,
            &self.options.preserved,
        );
        let mut remarks = Remarks::default();
        let mut clock = Clock {
            instrument,
            began: None,
        };
        let (passes, proof) = self.run_passes(&mut module, &mut sink, &mut remarks, &mut clock)?;
        let began = clock.began.unwrap_or_else(Instant::now);
        clock.stage("coverage");
        let coverage = self.coverage(&module, &remarks)?;
        self.check_meanings(&module)?;
        clock.stage("compile");
        let kernels = sink.finish()?;
        let packed = packed_attributes(&module, &sink);
        Ok(Finalized {
            module,
            target: self.target,
            kernels,
            packed,
            remarks,
            coverage,
            proof,
            passes,
            requests: sink.report(began),
        })
    }

    fn run_passes(
        &self,
        module: &mut GraphModule,
        kernels: &mut dyn KernelSink,
        remarks: &mut Remarks,
        instrument: &mut dyn Instrument,
    ) -> Result<(Vec<PassReport>, Option<Proof>), FinalizeError> {
        let inputs = self.proof.clone();
        let mut prover = inputs.map(|inputs| Prover::new(&self.options, inputs));
        let mut cx = PassCx {
            remarks,
            kernels,
            fuel: &mut Fuel::unlimited(),
            options: &self.options,
            observer: prover.as_mut().map(|prover| prover as &mut dyn Observer),
        };
        let ran = Pipeline::new(planish_passes::FINALIZE).run(module, &mut cx, instrument);
        if let Some(found) = prover.as_ref().and_then(Prover::counterexample) {
            let found = Box::new(found.clone());
            return Err(FinalizeError::Disproved { found });
        }
        Ok((ran?, prover.map(|prover| prover.proof().clone())))
    }

    /// What is computed on codes, if it is enough.
    fn coverage(&self, module: &GraphModule, remarks: &Remarks) -> Result<Coverage, FinalizeError> {
        let coverage = Coverage::of(module, &self.options, remarks)
            .map_err(|error| KernelError::Needs(error.to_string()))?;
        if coverage.share() < self.min_coverage {
            let least = self.min_coverage;
            return Err(FinalizeError::Coverage { least, coverage });
        }
        Ok(coverage)
    }

    /// Refuses operators that nothing computes, or not of such operands: what is finalized runs.
    fn check_meanings(&self, module: &GraphModule) -> Result<(), FinalizeError> {
        let methods = kept_methods(module, &self.options.preserved)
            .map_err(|error| KernelError::Needs(error.to_string()))?;
        for id in methods {
            let graph = &module.method(id).graph;
            for id in graph.walk() {
                if let Some((codes, plain)) = mixed(graph, id) {
                    return Err(FinalizeError::Mixed {
                        node: node_text(graph, id),
                        codes: graph.label(codes).to_string(),
                        plain: graph.label(plain).to_string(),
                    });
                }
                let node = graph.node(id);
                let op = node.op();
                if is_structure(op) || planish_eval::is_known(op) {
                    continue;
                }
                let first = node.outputs().first();
                let output = || first.map(|value| graph.label(*value).to_string());
                let place = node.loc().map(|loc| loc.to_string()).or_else(output);
                return Err(FinalizeError::NoMeaning {
                    op: op.to_string(),
                    place: place.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    /// Runs the passes alone: no kernel is asked for.
    pub fn graph_only(&self, module: &mut GraphModule) -> Result<Remarks, FinalizeError> {
        let mut remarks = Remarks::default();
        self.run_passes(module, &mut NoKernels, &mut remarks, &mut ())?;
        self.coverage(module, &remarks)?;
        self.check_meanings(module)?;
        Ok(remarks)
    }
}

/// Finalizes a model that is quantized on the device: every method `quantize_<m>` of the root is split into packing its weights, which is to
/// be called once, and `quantized_<m>`, which runs on them. Nothing is frozen or folded, since observers still have to see the weights.
pub fn finalize_on_device(module: &mut GraphModule) -> Result<Remarks, FinalizeError> {
    let mut remarks = Remarks::default();
    let mut cx = PassCx {
        remarks: &mut remarks,
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &Options::default(),
        observer: None,
    };
    Pipeline::new(&[&ClearProfiling, &FinalizeOnDevice]).run(module, &mut cx, &mut ())?;
    Ok(remarks)
}

/// Whether an operator is part of the program's structure, which has a meaning without an entry in the evaluator's tables.
fn is_structure(op: Op) -> bool {
    op.name().as_str().starts_with("prim::") || op.is("aten::warn") || op.is("aten::wait")
}

/// Notes when the first pass begins, from which all times are counted.
struct Clock<'i> {
    instrument: &'i mut dyn Instrument,
    began: Option<Instant>,
}

impl Instrument for Clock<'_> {
    fn before_pass(&mut self, pass: &dyn Pass, module: &GraphModule) {
        self.began.get_or_insert_with(Instant::now);
        self.instrument.before_pass(pass, module);
    }

    fn after_pass(&mut self, pass: &dyn Pass, module: &GraphModule, report: &PassReport) {
        self.instrument.after_pass(pass, module, report);
    }

    fn stage(&mut self, what: &'static str) {
        self.instrument.stage(what);
    }
}

impl Finalized {
    /// The module, ready to run in this process.
    pub fn program(&self) -> Result<Program, RunError> {
        let mut kernels = Vec::new();
        for unit in &self.kernels {
            kernels.extend(load(&unit.kernels, &unit.artefact)?);
        }
        Program::new(Parts {
            module: &self.module,
            contract: planish_eval::Contract::Fbgemm,
            kernels,
            evaluated: self
                .degraded()
                .filter(|request| request.rung == Rung::Eval)
                .map(|request| *request.kernel.spec())
                .collect(),
            packed: self
                .packed
                .iter()
                .map(|(name, _, bytes)| (*name, bytes.clone()))
                .collect(),
        })
    }

    /// Kernels that are slower than they could be, or are left to the reference evaluator, since their compiler failed.
    pub fn degraded(&self) -> impl Iterator<Item = &RequestReport> {
        self.requests.iter().filter(|request| {
            let counts = !request.cancelled && !request.kernel.spec().is_packer();
            counts && request.rung != Rung::Optimised
        })
    }

    /// The module as one artefact.
    pub fn artefact(&self) -> Artefact {
        Artefact::new(self)
    }

    /// Writes the artefact to a file, all of it or nothing.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ArtefactError> {
        self.artefact().write(path.as_ref())
    }
}

/// The packed weights by the attributes that hold them.
fn packed_attributes(module: &GraphModule, sink: &Kernels<'_>) -> Vec<(Sym, Kernel, Bytes)> {
    let attrs = &module.module(module.root()).attrs;
    let packed = attrs.iter().filter_map(|(name, value)| {
        let Literal::Packed(params) = value else {
            return None;
        };
        let weight = sink
            .packed()
            .iter()
            .find(|weight| Arc::ptr_eq(&weight.params, params))?;
        Some((*name, weight.kernel, weight.bytes.clone()))
    });
    packed.collect()
}
