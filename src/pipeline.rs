//! Joins passes, kernels and the pool: kernels are compiled while the passes run.
//!
//! The moment a pass from fusion on has ended, the module is lowered ([`planish_kernels::lower`]); kernels that were not asked for before go to the pool,
//! and those that the module no longer needs are cancelled. What a kernel needs is a pure function of the module, so nothing is forgotten
//! and nothing is asked for twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::IndexMap;
use planish_ir::{GraphModule, PackedParams, Phase};
use planish_kernels::{Contract, Isa, Kernel, KernelSpec, lower};
use planish_passes::{KernelSink, kept_methods};
use planish_pool::{Artefact, Job, JobError, Pool, Ticket, Toolchain};
use planish_runtime::{Call, Entry, Library};

/// The kernels of a module that is being finalized.
pub struct Kernels<'p> {
    pool: &'p Pool,
    toolchain: &'p Toolchain,
    contract: Contract,
    isa: Isa,
    preserved: Vec<String>,
    requests: IndexMap<Kernel, Request>,
    packers: IndexMap<Kernel, Entry>,
    packed: Vec<PackedWeight>,
    problem: Option<KernelError>,
}

/// A kernel that was asked for.
struct Request {
    pass: &'static str,
    ticket: Ticket,
    cancelled: bool,
}

/// A weight in the order that a kernel reads it in.
#[derive(Clone, Debug)]
pub struct PackedWeight {
    /// The weight.
    pub params: Arc<PackedParams>,
    /// The kernel that reads it.
    pub kernel: Kernel,
    /// The bytes.
    pub bytes: Bytes,
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct CompiledKernel {
    /// What it computes.
    pub kernel: Kernel,
    /// Its shared object.
    pub artefact: Artefact,
}

/// What became of a request for a kernel.
#[derive(Clone, Debug)]
pub struct RequestReport {
    /// The kernel.
    pub kernel: Kernel,
    /// The pass after which it was asked for.
    pub pass: &'static str,
    /// When it was submitted, counted from the start of the first pass.
    pub submitted: Duration,
    /// When it was answered, likewise.
    pub answered: Option<Duration>,
    /// Whether a later pass made it needless.
    pub cancelled: bool,
    /// Whether it came from the cache; `None` when it failed or was cancelled.
    pub from_cache: Option<bool>,
    /// Seconds that a worker spent on it.
    pub seconds: f64,
}

/// Why a kernel could not be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// It was not compiled; the job bears the kernel's name.
    #[error(transparent)]
    Compile(#[from] JobError),
    /// It was compiled and could not be used.
    #[error("use the kernel {kernel}: {reason}")]
    Use {
        /// The kernel.
        kernel: String,
        /// What went wrong.
        reason: String,
    },
    /// The module does not say what it needs.
    #[error("find out which kernels the module needs: {0}")]
    Needs(String),
}

impl<'p> Kernels<'p> {
    /// No kernels yet. `preserved` names the methods besides `forward` whose kernels are wanted.
    pub fn new(
        pool: &'p Pool,
        toolchain: &'p Toolchain,
        isa: Isa,
        contract: Contract,
        preserved: &[String],
    ) -> Self {
        Self {
            pool,
            toolchain,
            contract,
            isa,
            preserved: preserved.to_vec(),
            requests: IndexMap::new(),
            packers: IndexMap::new(),
            packed: Vec::new(),
            problem: None,
        }
    }

    /// Waits for the kernels that the module still needs.
    pub fn finish(&mut self) -> Result<Vec<CompiledKernel>, KernelError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let wanted = self
            .requests
            .iter()
            .filter(|(_, request)| !request.cancelled);
        let compiled = wanted.map(|(kernel, request)| {
            let artefact = request.ticket.wait();
            artefact.map(|artefact| CompiledKernel {
                kernel: *kernel,
                artefact,
            })
        });
        let compiled: Vec<_> = compiled.collect::<Result<_, JobError>>()?;
        // Packing kernels have done their work when the module is folded: they are not part of what it needs.
        Ok(compiled
            .into_iter()
            .filter(|compiled| !is_packer(compiled.kernel.spec()))
            .collect())
    }

    /// The weights that were packed, in program order.
    pub fn packed(&self) -> &[PackedWeight] {
        &self.packed
    }

    /// What became of every request, in the order in which they were made. Times are counted from `began`.
    pub fn report(&self, began: Instant) -> Vec<RequestReport> {
        let since = |at: Instant| at.saturating_duration_since(began);
        let reports = self.requests.iter().map(|(kernel, request)| {
            let artefact = request.ticket.try_get().and_then(Result::ok);
            RequestReport {
                kernel: *kernel,
                pass: request.pass,
                submitted: since(request.ticket.submitted()),
                answered: request.ticket.answered().map(since),
                cancelled: request.cancelled,
                from_cache: artefact.as_ref().map(|artefact| artefact.from_cache),
                seconds: artefact.map_or(0.0, |artefact| artefact.seconds),
            }
        });
        reports.collect()
    }

    fn request(&mut self, kernel: Kernel, pass: &'static str, urgency: u32) {
        let job = Job::cc(
            self.toolchain,
            kernel.source(),
            self.isa.flags().iter().copied(),
        )
        .named(kernel.to_string())
        .urgency(urgency);
        let request = Request {
            pass,
            ticket: self.pool.submit(job),
            cancelled: false,
        };
        self.requests.insert(kernel, request);
    }

    /// The compiled kernel that packs weights for `kernel`, loaded once.
    fn packer(&mut self, kernel: &Kernel) -> Result<&Entry, KernelError> {
        let spec = if matches!(kernel.spec(), KernelSpec::Linear(_)) {
            KernelSpec::PackLinear
        } else {
            KernelSpec::PackConv
        };
        let unusable = |reason: String| KernelError::Use {
            kernel: spec.to_string(),
            reason,
        };
        let packer = Kernel::new(spec, self.contract, self.isa)
            .map_err(|error| unusable(error.to_string()))?;
        if !self.packers.contains_key(&packer) {
            if !self.requests.contains_key(&packer) {
                // Folding waits for it now.
                self.request(packer, "fold-prepack", u32::MAX);
            }
            let artefact = self.requests[&packer].ticket.wait()?;
            let entry = load(packer, &artefact).map_err(|error| unusable(error.to_string()))?;
            self.packers.insert(packer, entry);
        }
        Ok(&self.packers[&packer])
    }
}

impl KernelSink for Kernels<'_> {
    fn pass_ended(&mut self, pass: &'static str, module: &GraphModule) -> usize {
        // Before fusion the graph holds the simulation of what will run: its kernels would be needless after the next pass.
        if module.phase < Phase::Fused {
            return 0;
        }
        let methods = match kept_methods(module, &self.preserved) {
            Ok(methods) => methods,
            Err(error) => {
                self.problem
                    .get_or_insert(KernelError::Needs(error.to_string()));
                return 0;
            }
        };
        let needed: Vec<Kernel> = lower::needs(module, &methods)
            .into_iter()
            .filter_map(|spec| Kernel::new(spec, self.contract, self.isa).ok())
            .collect();
        for (kernel, request) in &mut self.requests {
            // A packing kernel that has packed has done what it was asked for.
            let used = self.packers.contains_key(kernel);
            let needless = !needed.contains(kernel) && !request.cancelled && !used;
            if needless && request.ticket.try_get().is_none() {
                request.ticket.cancel();
            }
            request.cancelled |= needless;
        }
        let mut asked = 0;
        // The earlier a program needs a kernel, the more of it waits for that kernel.
        for (waiting, kernel) in (1..=needed.len() as u32).rev().zip(needed) {
            if self
                .requests
                .get(&kernel)
                .is_none_or(|request| request.cancelled)
            {
                self.request(kernel, pass, waiting);
                asked += 1;
            }
        }
        asked
    }

    fn pack(&mut self, params: &Arc<PackedParams>) -> Result<(), String> {
        // A weight that no kernel reads stays as it is: the reference evaluator reads it.
        let Ok(spec) = lower::spec_of(params) else {
            return Ok(());
        };
        let kernel =
            Kernel::new(spec, self.contract, self.isa).map_err(|error| error.to_string())?;
        let packing = kernel
            .spec()
            .packing()
            .ok_or("its kernel reads no weights")?;
        let weights = params
            .weight
            .values::<i8>()
            .ok_or("its weight is not of type qint8")?;
        let mut bytes = vec![0; packing.packed_len(self.isa)];
        let call = Call::Pack {
            packing,
            weights: &weights,
            out: &mut bytes,
        };
        let packer = self.packer(&kernel).map_err(|error| error.to_string())?;
        packer.call(call).map_err(|error| error.to_string())?;
        let bytes = Bytes::from(bytes);
        self.packed.push(PackedWeight {
            params: Arc::clone(params),
            kernel,
            bytes,
        });
        Ok(())
    }
}

/// Loads a kernel that the pool has just made.
pub(crate) fn load(kernel: Kernel, artefact: &Artefact) -> Result<Entry, planish_runtime::Error> {
    let digest = blake3::Hash::from_bytes(*artefact.digest.as_bytes());
    Library::load(&artefact.bytes, &digest, &[kernel])?.entry(kernel)
}

fn is_packer(spec: &KernelSpec) -> bool {
    matches!(spec, KernelSpec::PackConv | KernelSpec::PackLinear)
}
