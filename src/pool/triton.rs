//! Triton kernels: what is compiled, by what, and what another program needs to launch the result.
//!
//! A [`TritonSource`] says everything that decides the bytes: text, signature, constants, grid,
//! options. [`Triton`] is the compiler that was found: a Python with Triton, and the two `ptxas`
//! that it uses. [`crate::Job::triton`] joins them, and [`TritonArtefact`] is what comes back: the
//! cubin with a [`LaunchRecord`], which names no file and no directory.

mod artefact;
mod grid;
mod record;
pub(crate) mod resident;
mod search;
mod signature;
mod source;
mod text;

pub use artefact::TritonArtefact;
pub(crate) use artefact::is_cubin;
pub use grid::Grid;
pub(crate) use record::Metadata;
pub use record::{Argument, Constant, LaunchRecord, Scratch};
pub use search::{Ptxas, Triton, TritonSearch};
pub use signature::{Element, Kind, Parameter, Signature, Value};
pub use source::{Arch, TritonSource};
