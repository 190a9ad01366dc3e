//! The Finalize passes, the rewrite engine and its rules.
//!
//! A pass is a small struct in its own file; a rewrite is data in the text IR; an analysis is a pure function. Passes know
//! nothing of worker processes: they speak to a [`KernelSink`].

mod clear_profiling;
mod pass;
mod remark;

pub use clear_profiling::ClearProfiling;
pub use pass::{Changed, Fuel, KernelSink, NoKernels, Options, Pass, PassCx, PassError, QuantType};
pub use remark::{Remark, RemarkKind, Remarks};

/// Every pass, in the order in which Finalize runs those it consists of.
pub fn passes() -> &'static [&'static dyn Pass] {
    &[&ClearProfiling]
}
