//! planish's own kernels for devices, as the pool compiles them.
//!
//! ```no_run
//! use planish::pool::{Arch, Job, Pool, Triton, TritonArtefact, TritonSearch, WorkerCommand};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let triton = Triton::find(&TritonSearch::python("/opt/venv/bin/python"), None)?;
//! let pool = Pool::builder().worker(WorkerCommand::this_program()?).build()?;
//! let source = planish::triton::source(&"linear_u8s8u8 i512 o256".parse()?)?;
//! let artefact = pool.submit(Job::triton(&triton, source, Arch::SM_90)).wait()?;
//! let kernel = TritonArtefact::read(&artefact.bytes)?;
//! println!("{}: {} bytes, {}", kernel.record.entry, kernel.cubin.len(), kernel.digest());
//! # Ok(())
//! # }
//! ```

use planish_kernels::TritonKernel;
use planish_pool::{Error, TritonSource};

/// What a job compiles for this kernel.
pub fn source(kernel: &TritonKernel) -> Result<TritonSource, Error> {
    let (signature, grid) = (kernel.signature().parse()?, kernel.grid().parse()?);
    TritonSource::new(kernel.text(), kernel.function(), signature, &grid)
}
