//! Loads compiled kernels and runs finalized programs.
//!
//! This is the only crate with `unsafe` code, and it stands in three files: [`load`](Library) (the dynamic linker), [`call`](Call) (the
//! jump into a kernel) and [`map`](map_file) (a file as memory). Loading a kernel is running code, so the rules are:
//!
//! 1. The caller names the BLAKE3 digest that the bytes must have, from a source that it trusts: its own compile job, its own store, or
//!    an artefact that it chose to run.
//! 2. Those very bytes are hashed, checked as ELF and loaded, from a sealed memory file; no path is opened twice.
//! 3. The object exports exactly the expected symbols, imports none, has no code that runs when it is loaded, and no page that is both
//!    writable and executable.
//! 4. No kernel is called with a slice shorter than its geometry and sizes say.

mod arena;
mod builder;
mod call;
mod elf;
mod error;
mod load;
mod map;
mod plan;
mod program;
mod run;
mod run_error;
mod stats;
mod steps;

pub use call::{Call, Entry};
pub use elf::ElfError;
pub use error::Error;
pub use load::Library;
pub use map::map_file;
pub use program::{Fallback, Parts, Program};
pub use run_error::RunError;
pub use stats::Stats;
