//! The Finalize passes, the rewrite engine and its rules.
//!
//! A pass is a small struct in its own file; a rewrite is data in the text IR; an analysis is a pure function. Passes know
//! nothing of worker processes: they speak to a [`KernelSink`].

pub mod analysis;
mod build_lists;
mod clear_profiling;
mod const_fold;
mod coverage;
mod cse;
mod dce;
mod dedup_module_uses;
mod distinct;
mod finalize_on_device;
mod fold_prepack;
mod freeze;
mod fuse_linear;
mod fuse_quantized_add_relu;
mod inline;
mod insert_prepack_unpack;
mod kept;
mod observer;
mod optimize;
mod parallel;
mod pass;
mod peephole;
mod picked;
mod pipeline;
mod prove;
mod quant_fusion;
mod quant_motion;
mod remark;
mod replicate_dequant;
pub mod rewrite;
pub mod rules;
mod scope;
mod string_padding;
mod swap_functional_linear;
mod unbox;
mod unroll;
mod views;
mod why_not;

pub use clear_profiling::ClearProfiling;
pub use const_fold::ConstFold;
pub use coverage::{Coverage, FloatOp};
pub use cse::Cse;
pub use dce::Dce;
pub use dedup_module_uses::DedupModuleUses;
pub use finalize_on_device::FinalizeOnDevice;
pub use fold_prepack::FoldPrepack;
pub use freeze::Freeze;
pub use fuse_linear::FuseLinear;
pub use fuse_quantized_add_relu::FuseQuantizedAddRelu;
pub use inline::Inline;
pub use insert_prepack_unpack::InsertPrepackUnpack;
pub use kept::kept_methods;
pub use observer::{Input, Observer, Rewrite};
pub use pass::{Changed, Fuel, KernelSink, NoKernels, Options, Pass, PassCx, PassError, QuantType};
pub use peephole::Peephole;
pub use pipeline::{Instrument, PassReport, Pipeline, PipelineError};
pub use prove::{Counterexample, Proof, Prover};
pub use quant_fusion::QuantFusion;
pub use quant_motion::QuantMotion;
pub use remark::{Remark, RemarkKind, Remarks};
pub use replicate_dequant::ReplicateDequant;
pub use swap_functional_linear::SwapFunctionalLinear;
pub use why_not::{Answer, WhyNot, WhyNotError, node_text, why_not};

/// What Finalize runs, in order.
///
/// Calls are inlined first, so that what stands in submodules is fused too. Fusion comes before freezing, since it matches quantize and
/// dequantize nodes whose operands freezing would merge, and motion before fusion, since it brings them to where they match; folding comes
/// last, since only constant weights can be packed.
pub const FINALIZE: &[&dyn Pass] = &[
    &Inline,
    &ClearProfiling,
    &InsertPrepackUnpack,
    &QuantMotion,
    &QuantFusion,
    &Freeze,
    &FoldPrepack,
];

/// Every pass: those of [`FINALIZE`] in their order, then the others.
pub fn passes() -> Vec<&'static dyn Pass> {
    let others: [&dyn Pass; 10] = [
        &ConstFold,
        &Cse,
        &Dce,
        &Peephole,
        &DedupModuleUses,
        &SwapFunctionalLinear,
        &FuseLinear,
        &ReplicateDequant,
        &FuseQuantizedAddRelu,
        &FinalizeOnDevice,
    ];
    FINALIZE.iter().copied().chain(others).collect()
}
