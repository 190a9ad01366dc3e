//! What a pass is, and what it is given.

use planish_ir::{GraphModule, PackedParams, Phase};
use std::sync::Arc;

use crate::observer::Observer;
use crate::remark::Remarks;

/// A transformation of a module.
///
/// A pass changes only the module it is given and keeps no state between runs. Verifying, timing and dumping are the pipeline's affair,
/// never the pass's.
pub trait Pass: Send + Sync {
    /// The pass's name: its word in a pipeline, its folder of snapshots, its benchmark.
    fn name(&self) -> &'static str;

    /// What it does, in one line.
    fn doc(&self) -> &'static str;

    /// The phase that a module must have reached for the pass to make sense.
    fn requires(&self) -> Phase {
        Phase::Imported
    }

    /// The phase that a module has reached when the pass has run; `None` when the pass can run anywhere.
    fn establishes(&self) -> Option<Phase> {
        None
    }

    /// Changes the module.
    ///
    /// # Errors
    /// When the module cannot be transformed; it may then be half changed, and the pipeline drops it.
    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError>;
}

/// How many rewrites a pass made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed(pub usize);

/// What a pass may use besides the module.
pub struct PassCx<'a> {
    /// Where it says what it did and what it declined to do.
    pub remarks: &'a mut Remarks,
    /// Where packed weights go to be laid out for kernels.
    pub kernels: &'a mut dyn KernelSink,
    /// How many more rewrites may be made.
    pub fuel: &'a mut Fuel,
    /// What the user asked for.
    pub options: &'a Options,
    /// Who watches every single rewrite, if somebody does.
    pub observer: Option<&'a mut dyn Observer>,
}

impl PassCx<'_> {
    /// Tells the observer that a step of a pass, which no rule stands for, has changed the module.
    pub fn step(&mut self, step: &'static str, module: &GraphModule) {
        if let Some(observer) = &mut self.observer {
            observer.step(step, module);
        }
    }
}

/// What the user of a pipeline asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How activations were quantized.
    pub quant_type: QuantType,
    /// Attributes, submodules and methods to keep, as dotted paths from the root. `forward` is always kept.
    pub preserved: Vec<String>,
    /// The arithmetic that constants are folded by.
    pub contract: planish_eval::Contract,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quant_type: QuantType::Static,
            preserved: Vec::new(),
            contract: planish_eval::Contract::Fbgemm,
        }
    }
}

/// How activations were quantized; the numbers are PyTorch's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QuantType {
    /// Scales are computed on each run.
    Dynamic = 0,
    /// Scales were observed beforehand.
    Static = 1,
}

/// Where passes' need for kernels goes.
///
/// The pipeline calls [`pass_ended`](Self::pass_ended) the moment a pass has ended, so that kernels are compiled while the next pass runs.
pub trait KernelSink {
    /// Takes note of what the module needs now; returns how many kernels were newly asked for.
    fn pass_ended(&mut self, pass: &'static str, module: &GraphModule) -> usize;

    /// Lays a packed weight out for the kernels that will read it.
    ///
    /// # Errors
    /// The reason, in words, when it cannot be done.
    fn pack(&mut self, params: &Arc<PackedParams>) -> Result<(), String>;
}

/// A sink for pipelines that want graphs and no kernels.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKernels;

impl KernelSink for NoKernels {
    fn pass_ended(&mut self, _: &'static str, _: &GraphModule) -> usize {
        0
    }

    fn pack(&mut self, _: &Arc<PackedParams>) -> Result<(), String> {
        Ok(())
    }
}

/// A bound on the number of rewrites, over all passes of a pipeline: the way to find the one that goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fuel {
    limit: Option<u64>,
    used: u64,
}

impl Fuel {
    /// As many rewrites as there are.
    pub fn unlimited() -> Self {
        Self {
            limit: None,
            used: 0,
        }
    }

    /// At most `limit` rewrites.
    pub fn limited(limit: u64) -> Self {
        Self {
            limit: Some(limit),
            used: 0,
        }
    }

    /// Asks for one rewrite; `false` when there is no fuel left for it.
    #[must_use]
    pub fn take(&mut self) -> bool {
        let granted = self.limit.is_none_or(|limit| self.used < limit);
        self.used += u64::from(granted);
        granted
    }

    /// Rewrites made so far.
    pub fn used(&self) -> u64 {
        self.used
    }
}

/// Why a pass could not transform a module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassError {
    /// The module is not one that the pass can take.
    #[error("{0}")]
    Refused(String),
    /// A name to preserve is not in the module.
    #[error("find {name:?} among the attributes, submodules and methods of {class}: {hint}")]
    UnknownName {
        /// The name as it was given.
        name: String,
        /// The class it was looked for in.
        class: String,
        /// What there is instead.
        hint: String,
    },
    /// A packed weight could not be laid out for its kernel.
    #[error("pack the weight of {node}: {reason}")]
    Pack {
        /// The operation, with its place.
        node: String,
        /// What went wrong.
        reason: String,
    },
}
