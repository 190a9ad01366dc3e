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
use planish_kernels::{Contract, Isa, Kernel, KernelSpec, lower, pack};
use planish_passes::{KernelSink, kept_methods};
use planish_pool::{Artefact, JobError, Pool, Ticket, Toolchain};
use planish_runtime::{Call, Entry, Library};

use crate::rung::{self, Rung};

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
    rung: Rung,
    /// Why it is not higher up.
    because: Option<String>,
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
    /// How it was had in the end.
    pub rung: Rung,
    /// Why not in a better way.
    pub because: Option<String>,
    /// The instruction set on which it was proven to be right; `None` when it could not be tried.
    pub proven: Option<String>,
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

    /// Waits for the kernels that the module still needs. Those that could not be compiled in any way are left out: the
    /// evaluator computes them.
    pub fn finish(&mut self) -> Result<Vec<CompiledKernel>, KernelError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let wanted = self
            .requests
            .iter()
            .filter(|(_, request)| !request.cancelled);
        let wanted: Vec<Kernel> = wanted.map(|(kernel, _)| *kernel).collect();
        // All that have failed go down together, so that they are compiled at once.
        while self.go_down(&wanted)? {}
        let mut compiled = Vec::new();
        for kernel in wanted {
            let request = &self.requests[&kernel];
            if request.rung == Rung::Eval || is_packer(kernel.spec()) {
                // Packing kernels have done their work when the module is folded: they are not part of what it needs.
                continue;
            }
            let artefact = request.ticket.wait()?;
            let kernel = request.rung.kernel(kernel);
            compiled.push(CompiledKernel { kernel, artefact });
        }
        self.pack_anew()?;
        Ok(compiled)
    }

    /// Asks anew, one rung down, for those of these kernels whose compiler failed. Whether there were any.
    fn go_down(&mut self, kernels: &[Kernel]) -> Result<bool, KernelError> {
        let mut fell = false;
        for kernel in kernels {
            let Some(request) = self.requests.get_mut(kernel) else {
                continue;
            };
            if request.rung == Rung::Eval {
                continue;
            }
            match request.ticket.wait() {
                Ok(_) => {}
                Err(error) if rung::is_the_compilers_fault(&error) => {
                    request.because.get_or_insert_with(|| error.to_string());
                    request.rung = request.rung.below(kernel.isa());
                    fell = true;
                    if let Some(job) = request.rung.job(*kernel, self.toolchain) {
                        request.ticket = self.pool.submit(job);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(fell)
    }

    /// Weights whose kernel went down to another instruction set lie in another order.
    fn pack_anew(&mut self) -> Result<(), KernelError> {
        for weight in &mut self.packed {
            let Some(request) = self.requests.get(&weight.kernel) else {
                continue;
            };
            let kernel = request.rung.kernel(weight.kernel);
            if kernel == weight.kernel {
                continue;
            }
            let unusable = |reason| KernelError::Use {
                kernel: kernel.to_string(),
                reason,
            };
            weight.bytes = pack_slowly(&kernel, &weight.params).map_err(unusable)?;
            weight.kernel = kernel;
        }
        Ok(())
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
                seconds: artefact.as_ref().map_or(0.0, |artefact| artefact.seconds),
                rung: request.rung,
                because: request.because.clone(),
                proven: artefact.and_then(|artefact| artefact.proven),
            }
        });
        reports.collect()
    }

    fn request(&mut self, kernel: Kernel, pass: &'static str, urgency: u32) {
        let rung = Rung::Optimised;
        let Some(job) = rung.job(kernel, self.toolchain) else {
            return;
        };
        let job = job.urgency(urgency);
        let request = Request {
            pass,
            ticket: self.pool.submit(job),
            cancelled: false,
            rung,
            because: None,
        };
        self.requests.insert(kernel, request);
    }

    /// The compiled kernel that packs weights for `kernel`, loaded once; `None` if it could not be compiled.
    fn packer(&mut self, kernel: &Kernel) -> Result<Option<&Entry>, KernelError> {
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
            while self.go_down(&[packer])? {}
            let request = &self.requests[&packer];
            // A portable packer packs for portable kernels, and these weights are not for one.
            if request.rung.kernel(packer) != packer {
                return Ok(None);
            }
            let artefact = request.ticket.wait()?;
            let entry = load(packer, &artefact).map_err(|error| unusable(error.to_string()))?;
            self.packers.insert(packer, entry);
        }
        Ok(self.packers.get(&packer))
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
        let packer = self.packer(&kernel).map_err(|error| error.to_string())?;
        let bytes = match packer {
            Some(packer) => pack_with(packer, &kernel, params)?,
            None => pack_slowly(&kernel, params)?,
        };
        self.packed.push(PackedWeight {
            params: Arc::clone(params),
            kernel,
            bytes,
        });
        Ok(())
    }
}

/// The weights in the order of `kernel`, by the kernel that packs them.
fn pack_with(packer: &Entry, kernel: &Kernel, params: &PackedParams) -> Result<Bytes, String> {
    let packing = kernel
        .spec()
        .packing()
        .ok_or("its kernel reads no weights")?;
    let mut bytes = vec![0; packing.packed_len(kernel.isa())];
    let call = Call::Pack {
        packing,
        weights: &weights(params)?,
        out: &mut bytes,
    };
    packer.call(call).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// The same without a kernel.
fn pack_slowly(kernel: &Kernel, params: &PackedParams) -> Result<Bytes, String> {
    let bytes = pack(kernel.spec(), kernel.isa(), &weights(params)?);
    Ok(bytes.map_err(|error| error.to_string())?.into())
}

fn weights(params: &PackedParams) -> Result<Vec<i8>, String> {
    let weights = params.weight.values::<i8>();
    Ok(weights.ok_or("its weight is not of type qint8")?)
}

/// Loads a kernel that the pool has just made.
pub(crate) fn load(kernel: Kernel, artefact: &Artefact) -> Result<Entry, planish_runtime::Error> {
    let digest = blake3::Hash::from_bytes(*artefact.digest().as_bytes());
    Library::load(&artefact.bytes, &digest, &[kernel])?.entry(kernel)
}

pub(crate) fn is_packer(spec: &KernelSpec) -> bool {
    matches!(spec, KernelSpec::PackConv | KernelSpec::PackLinear)
}
