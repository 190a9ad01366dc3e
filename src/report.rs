//! What `planish finalize --report` writes: the whole story of one run, as data.

use std::time::Duration;

use planish_pool::{Stats as PoolStats, Toolchain};
use planish_runtime::{Fallback, Stats};
use serde::Serialize;

use crate::Finalized;
use crate::check::Check;

/// The report of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The planish that ran.
    pub planish: String,
    /// The file that was read.
    pub input: String,
    /// The arithmetic that outputs follow.
    pub contract: String,
    /// The instruction set of the kernels.
    pub isa: String,
    /// The compiler and its version.
    pub compiler: String,
    /// How many jobs the pool ran at once.
    pub workers: usize,
    /// Seconds that reading the file took.
    pub import_seconds: f64,
    /// The passes, in order.
    pub passes: Vec<PassEntry>,
    /// The kernels.
    pub kernels: KernelEntries,
    /// Share of multiply-accumulates that ran in integer kernels; known when the program was checked.
    pub coverage: Option<f64>,
    /// Tensor operators that run by the reference evaluator.
    pub fallbacks: Vec<FallbackEntry>,
    /// The comparison with expected outputs, when it was asked for.
    pub check: Option<Check>,
}

/// One pass. Times are seconds from the start of the first pass.
#[derive(Clone, Debug, Serialize)]
pub struct PassEntry {
    /// Name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
    /// When it began.
    pub start: f64,
    /// When it ended.
    pub end: f64,
    /// Rewrites made.
    pub rewrites: usize,
    /// Nodes before.
    pub nodes_before: usize,
    /// Nodes after.
    pub nodes_after: usize,
    /// Kernels that were asked for the moment it ended.
    pub kernels_requested: usize,
}

/// The kernels of one run.
#[derive(Clone, Debug, Serialize)]
pub struct KernelEntries {
    /// Kernels asked for.
    pub requested: usize,
    /// Of these, compiled by a worker.
    pub compiled: usize,
    /// Of these, taken from the cache.
    pub from_cache: usize,
    /// Of these, no longer needed after a later pass.
    pub cancelled: usize,
    /// Of these, failed.
    pub failed: usize,
    /// Seconds that workers spent, added up.
    pub seconds: f64,
    /// Every request.
    pub requests: Vec<RequestEntry>,
}

/// One request for a kernel. Times are seconds from the start of the first pass.
#[derive(Clone, Debug, Serialize)]
pub struct RequestEntry {
    /// The kernel.
    pub kernel: String,
    /// The pass after which it was asked for.
    pub pass: String,
    /// When it was submitted.
    pub submitted: f64,
    /// When it was answered.
    pub answered: Option<f64>,
    /// Whether a later pass made it needless.
    pub cancelled: bool,
    /// Whether it came from the cache.
    pub from_cache: Option<bool>,
    /// Seconds that a worker spent on it.
    pub seconds: f64,
}

/// A tensor operator that runs by the reference evaluator.
#[derive(Clone, Debug, Serialize)]
pub struct FallbackEntry {
    /// The node, by its place in the source or the value it computes.
    pub node: String,
    /// The operator.
    pub operator: String,
    /// Why no kernel computes it.
    pub reason: String,
}

impl Report {
    /// The report of a run whose program was not checked yet.
    pub fn new(
        finalized: &Finalized,
        input: &str,
        toolchain: &Toolchain,
        (workers, pool): (usize, &PoolStats),
        import: Duration,
        fallbacks: &[Fallback],
    ) -> Self {
        let requests = &finalized.requests;
        Self {
            planish: env!("CARGO_PKG_VERSION").to_owned(),
            input: input.to_owned(),
            contract: finalized.target.contract.to_string(),
            isa: finalized.target.isa.to_string(),
            compiler: format!("{} {}", toolchain.compiler().display(), toolchain.version()),
            workers,
            import_seconds: import.as_secs_f64(),
            passes: finalized.passes.iter().map(PassEntry::new).collect(),
            kernels: KernelEntries {
                requested: requests.len(),
                compiled: requests
                    .iter()
                    .filter(|request| request.from_cache == Some(false))
                    .count(),
                from_cache: requests
                    .iter()
                    .filter(|request| request.from_cache == Some(true))
                    .count(),
                cancelled: requests.iter().filter(|request| request.cancelled).count(),
                failed: usize::try_from(pool.failed).unwrap_or(usize::MAX),
                seconds: requests.iter().map(|request| request.seconds).sum(),
                requests: requests.iter().map(RequestEntry::new).collect(),
            },
            coverage: None,
            fallbacks: fallbacks.iter().map(FallbackEntry::new).collect(),
            check: None,
        }
    }

    /// Adds what a checked run found.
    pub fn checked(&mut self, check: Check, stats: &Stats) {
        self.coverage = Some(stats.coverage());
        let not_taken = stats.not_taken.iter().map(|(op, reason)| FallbackEntry {
            node: String::new(),
            operator: op.clone(),
            reason: (*reason).to_owned(),
        });
        self.fallbacks.extend(not_taken);
        self.check = Some(check);
    }
}

impl PassEntry {
    fn new(report: &planish_passes::PassReport) -> Self {
        Self {
            name: report.name.to_owned(),
            seconds: (report.end - report.start).as_secs_f64(),
            start: report.start.as_secs_f64(),
            end: report.end.as_secs_f64(),
            rewrites: report.rewrites,
            nodes_before: report.nodes_before,
            nodes_after: report.nodes_after,
            kernels_requested: report.kernels_requested,
        }
    }
}

impl RequestEntry {
    fn new(report: &crate::RequestReport) -> Self {
        Self {
            kernel: report.kernel.to_string(),
            pass: report.pass.to_owned(),
            submitted: report.submitted.as_secs_f64(),
            answered: report.answered.map(|answered| answered.as_secs_f64()),
            cancelled: report.cancelled,
            from_cache: report.from_cache,
            seconds: report.seconds,
        }
    }
}

impl FallbackEntry {
    fn new(fallback: &Fallback) -> Self {
        Self {
            node: fallback.node.clone(),
            operator: fallback.op.clone(),
            reason: fallback.reason.clone(),
        }
    }
}
