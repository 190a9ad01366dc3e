//! Joins passes, kernels and the pool: kernels are compiled while the passes run.
//!
//! The moment a pass from fusion on has ended, the module is lowered ([`planish_kernels::lower`]); kernels that were not asked for before go
//! to the pool, joined to units ([`Unit::join`]), and units of which the module no longer needs any kernel are cancelled. What a module
//! needs is a pure function of it, so nothing is forgotten and nothing is asked for twice.
//!
//! A unit whose compiler fails falls apart: each of its kernels is asked for by itself, so that the one at fault goes down its ladder
//! ([`Rung`]) and the others stay where they are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use indexmap::{IndexMap, IndexSet};
use planish_ir::{GraphModule, PackedParams, Phase};
use planish_kernels::{Contract, Isa, Kernel, KernelSpec, Unit, lower, pack};
use planish_passes::{KernelSink, kept_methods};
use planish_pool::{Artefact, JobError, Pool, Ticket, Toolchain};
use planish_runtime::{Call, Entry, Library};

use crate::rung::{self, Rung};

/// The urgency of kernels that folding waits for.
const AT_ONCE: u32 = u32::MAX;

/// The kernels of a module that is being finalized.
pub struct Kernels<'p> {
    pool: &'p Pool,
    toolchain: &'p Toolchain,
    contract: Contract,
    isa: Isa,
    preserved: Vec<String>,
    orders: Vec<Order>,
    requests: IndexMap<Kernel, Request>,
    packers: IndexMap<Kernel, Entry>,
    packed: Vec<PackedWeight>,
    problem: Option<KernelError>,
}

/// A unit that was given to the pool.
struct Order {
    unit: Unit,
    ticket: Ticket,
    cancelled: bool,
}

/// A kernel that was asked for.
struct Request {
    pass: &'static str,
    /// The number of the order that it is in.
    order: usize,
    cancelled: bool,
    rung: Rung,
    /// Why it is not higher up.
    because: Option<String>,
    /// Why it is by itself although it was joined with others.
    apart: Option<String>,
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

/// Kernels that were compiled together.
#[derive(Clone, Debug)]
pub struct CompiledUnit {
    /// What the object holds.
    pub kernels: Vec<Kernel>,
    /// The shared object.
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
    /// Its share of the seconds that a worker spent on it and those that it was joined with.
    pub seconds: f64,
    /// The number of its unit: kernels that have the same are compiled together.
    pub unit: usize,
    /// How many kernels that unit has.
    pub joined: usize,
    /// Why it is by itself, when it was joined with others first.
    pub apart: Option<String>,
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
            orders: Vec::new(),
            requests: IndexMap::new(),
            packers: IndexMap::new(),
            packed: Vec::new(),
            problem: None,
        }
    }

    /// Waits for the kernels that the module still needs. Those that could not be compiled in any way are left out: the
    /// evaluator computes them.
    pub fn finish(&mut self) -> Result<Vec<CompiledUnit>, KernelError> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let wanted = self.requests.iter();
        let wanted = wanted.filter(|(_, request)| !request.cancelled);
        let wanted: Vec<Kernel> = wanted.map(|(kernel, _)| *kernel).collect();
        // All that have failed go down together, so that they are compiled at once.
        while self.go_down(&wanted)? {}
        let mut compiled = Vec::new();
        // Packing kernels have done their work when the module is folded: they are not part of what it needs.
        let needed = wanted.iter().filter(|kernel| !kernel.spec().is_packer());
        let needed: Vec<Kernel> = needed.copied().collect();
        for order in self.orders_of(&needed) {
            let order = &self.orders[order];
            compiled.push(CompiledUnit {
                kernels: order.unit.kernels().to_vec(),
                artefact: order.ticket.wait()?,
            });
        }
        self.pack_anew()?;
        Ok(compiled)
    }

    /// The orders from which these kernels are had, if they are compiled at all.
    fn orders_of(&self, kernels: &[Kernel]) -> BTreeSet<usize> {
        let requests = kernels
            .iter()
            .filter_map(|kernel| self.requests.get(kernel));
        let compiled = requests.filter(|request| request.rung != Rung::Eval);
        compiled.map(|request| request.order).collect()
    }

    /// Asks anew for those of these kernels whose compiler failed. Whether there were any.
    fn go_down(&mut self, kernels: &[Kernel]) -> Result<bool, KernelError> {
        let mut fell = false;
        for order in self.orders_of(kernels) {
            if let Err(error) = self.orders[order].ticket.wait() {
                self.fall(order, &error)?;
                fell = true;
            }
        }
        Ok(fell)
    }

    /// Asks anew for the kernels of an order that failed: by themselves when they were joined, else one rung down.
    fn fall(&mut self, order: usize, error: &JobError) -> Result<(), KernelError> {
        let joined = self.orders[order].unit.kernels().len() > 1;
        // Which of them the compiler refuses is found out in the same way.
        let refused = joined && matches!(error, JobError::Compile { .. });
        if !refused && !rung::is_the_compilers_fault(error) {
            return Err(error.clone().into());
        }
        let fallen = self.requests.iter_mut();
        let mut again = Vec::new();
        for (kernel, request) in fallen.filter(|(_, request)| request.order == order) {
            if joined {
                request.apart.get_or_insert_with(|| error.to_string());
            } else {
                request.because.get_or_insert_with(|| error.to_string());
                request.rung = request.rung.below(kernel.isa());
            }
            if !request.cancelled && request.rung != Rung::Eval {
                again.push((*kernel, request.rung));
            }
        }
        for (kernel, rung) in again {
            let order = self.order(Unit::alone(rung.kernel(kernel)), rung, 0);
            self.requests[&kernel].order = order;
        }
        Ok(())
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
            let order = &self.orders[request.order];
            let joined = order.unit.kernels().len();
            let artefact = order.ticket.try_get().and_then(Result::ok);
            let seconds = artefact.as_ref().map_or(0.0, |artefact| artefact.seconds);
            RequestReport {
                kernel: *kernel,
                pass: request.pass,
                submitted: since(order.ticket.submitted()),
                answered: order.ticket.answered().map(since),
                cancelled: request.cancelled,
                from_cache: artefact.as_ref().map(|artefact| artefact.from_cache),
                seconds: seconds / joined as f64,
                unit: request.order,
                joined,
                apart: request.apart.clone(),
                rung: request.rung,
                because: request.because.clone(),
                proven: artefact.and_then(|artefact| artefact.proven),
            }
        });
        reports.collect()
    }

    /// Asks for kernels. A unit is as urgent as the most urgent of its kernels.
    fn request(
        &mut self,
        kernels: &[Kernel],
        pass: &'static str,
        urgency: impl Fn(&Kernel) -> u32,
    ) {
        let rung = Rung::Optimised;
        for unit in Unit::join(kernels) {
            let kernels = unit.kernels().to_vec();
            let urgency = kernels.iter().map(&urgency).max().unwrap_or_default();
            let order = self.order(unit, rung, urgency);
            for kernel in kernels {
                let request = Request {
                    pass,
                    order,
                    cancelled: false,
                    rung,
                    because: None,
                    apart: None,
                };
                self.requests.insert(kernel, request);
            }
        }
    }

    /// Gives a unit to the pool; the number of the order.
    fn order(&mut self, unit: Unit, rung: Rung, urgency: u32) -> usize {
        let job = rung.job(&unit, self.toolchain).urgency(urgency);
        self.orders.push(Order {
            ticket: self.pool.submit(job),
            unit,
            cancelled: false,
        });
        self.orders.len() - 1
    }

    /// Cancels what is under way for nobody.
    fn cancel_needless(&mut self) {
        let requests = self.requests.values().filter(|request| !request.cancelled);
        let wanted: BTreeSet<usize> = requests.map(|request| request.order).collect();
        for (number, order) in self.orders.iter_mut().enumerate() {
            if !wanted.contains(&number) && order.ticket.try_get().is_none() {
                order.ticket.cancel();
                order.cancelled = true;
            }
        }
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
                self.request(&[packer], "fold-prepack", |_| AT_ONCE);
            }
            while self.go_down(&[packer])? {}
            let request = &self.requests[&packer];
            // A portable packer packs for portable kernels, and these weights are not for one.
            if request.rung.kernel(packer) != packer {
                return Ok(None);
            }
            let order = &self.orders[request.order];
            let entries = load(order.unit.kernels(), &order.ticket.wait()?);
            let entries = entries.map_err(|error| unusable(error.to_string()))?;
            self.packers
                .extend(entries.into_iter().map(|entry| (*entry.kernel(), entry)));
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
        let needed: IndexSet<Kernel> = lower::needs(module, &methods)
            .into_iter()
            .filter_map(|spec| Kernel::new(spec, self.contract, self.isa).ok())
            .collect();
        for (kernel, request) in &mut self.requests {
            // A packing kernel that has packed has done what it was asked for.
            let used = self.packers.contains_key(kernel);
            let is_needed = needed.contains(kernel) && !self.orders[request.order].cancelled;
            request.cancelled = !is_needed && (request.cancelled || !used);
        }
        self.cancel_needless();
        let is_asked = |kernel: &Kernel| {
            let request = self.requests.get(kernel);
            request.is_some_and(|request| !request.cancelled)
        };
        let new = needed.iter().copied().filter(|kernel| !is_asked(kernel));
        let new: Vec<Kernel> = new.collect();
        // The earlier a program needs a kernel, the more of it waits for that kernel; and folding waits for what packs.
        self.request(&new, pass, |kernel| match needed.get_index_of(kernel) {
            _ if kernel.spec().is_packer() => AT_ONCE,
            Some(before) => (needed.len() - before) as u32,
            None => 0,
        });
        new.len()
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

/// Loads kernels that the pool has just made.
pub(crate) fn load(
    kernels: &[Kernel],
    artefact: &Artefact,
) -> Result<Vec<Entry>, planish_runtime::Error> {
    let digest = blake3::Hash::from_bytes(*artefact.digest().as_bytes());
    let library = Library::load(&artefact.bytes, &digest, kernels)?;
    kernels
        .iter()
        .map(|kernel| library.entry(*kernel))
        .collect()
}
