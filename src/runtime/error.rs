//! What can go wrong between an artefact's bytes and a kernel's result.

use std::io;

use crate::ElfError;

/// Why a kernel could not be loaded or called. Messages read after "failed to".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not those that were promised.
    #[error("load a kernel library: its digest is {found}, expected {expected}")]
    Digest {
        /// Digest of the bytes.
        found: blake3::Hash,
        /// Digest that the caller named.
        expected: blake3::Hash,
    },
    /// The object is not one that a kernel's compile job makes.
    #[error("load a kernel library: refused the shared object: {0}")]
    Elf(#[from] ElfError),
    /// The operating system gave no memory file.
    #[error("load a kernel library: {doing}: {source}")]
    Memory {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The dynamic linker refused the object, or found no symbol in it.
    #[error("load a kernel library: {0}")]
    Link(#[from] libloading::Error),
    /// This processor cannot run the kernel.
    #[error("load kernel `{kernel}`: this processor does not have the instruction set {isa}")]
    Isa {
        /// The kernel.
        kernel: String,
        /// What it needs.
        isa: planish_kernels::Isa,
    },
    /// The arguments do not fit the kernel or each other.
    #[error("call kernel `{kernel}`: {why}")]
    Arguments {
        /// The kernel.
        kernel: String,
        /// What does not fit.
        why: String,
    },
    /// The kernel was compiled for another interface.
    #[error("call kernel `{kernel}`: it was built for another interface (its answer was {answer})")]
    Interface {
        /// The kernel.
        kernel: String,
        /// What the entry returned.
        answer: i32,
    },
}
