//! planish finishes quantized neural networks.
//!
//! It reads a quantized model ([`import`]), runs the Finalize passes over it ([`passes`]), has a kernel compiled for every fused operator
//! by a pool of worker processes ([`kernels`], [`pool`]), and gives back an artefact that runs without a compiler ([`Artefact`],
//! [`runtime`]). Data flows one way: file → import → IR → passes → kernels → pool → artefact → runtime.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use planish::prelude::*;
//!
//! fn main() -> ExitCode {
//!     // The pool's workers are this program, started again.
//!     if let Some(code) = planish::pool::enter_if_asked(&planish::selftest::handlers()) {
//!         return code;
//!     }
//!     finalize().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
//! }
//!
//! fn finalize() -> Result<(), Box<dyn std::error::Error>> {
//!     let toolchain = Toolchain::find(&ToolchainSearch::in_path("/usr/bin:/bin"))?;
//!     let pool = Pool::builder().worker(WorkerCommand::this_program()?).build()?;
//!     let module = planish::import::open("model.pt")?;
//!     let finalized = Finalize::for_target(Target::host()).compiler(&pool, &toolchain).run(module)?;
//!     finalized.save("model.planish")?;
//!     let program = finalized.program()?;
//!     # drop(program);
//!     Ok(())
//! }
//! ```

mod artefact;
pub mod check;
pub mod counterexample;
pub mod file;
mod finalize;
mod model;
pub mod offload;
pub mod package;
mod pipeline;
pub mod report;
mod rung;
pub mod selftest;
mod sentence;
pub mod trace;
pub mod triton;

pub use artefact::{Artefact, ArtefactError};
pub use finalize::{Finalize, FinalizeError, Finalized, Target, finalize_on_device};
pub use pipeline::{CompiledUnit, KernelError, Kernels, PackedWeight, RequestReport};
pub use rung::Rung;
pub use sentence::sentence;

pub use planish_eval as eval;
pub use planish_ir as ir;
pub use planish_kernels as kernels;
pub use planish_passes as passes;
pub use planish_pool as pool;
pub use planish_runtime as runtime;

/// Reading model files.
pub mod import {
    pub use crate::model::open;
    pub use planish_import::{Error, Result, read, torchscript};
}

/// What most programs need.
pub mod prelude {
    pub use crate::finalize::{Finalize, Finalized, Target};
    pub use planish_ir::{Graph, GraphModule, Tensor};
    pub use planish_passes::{Pass, PassCx, Pipeline};
    pub use planish_pool::{Pool, Toolchain, ToolchainSearch, WorkerCommand};
}
