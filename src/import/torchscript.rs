//! TorchScript archives, as `torch.jit.save` writes them.
//!
//! Reading goes through rooms that each can be used on their own: [`zip`] opens the container,
//! [`pickle`] reads the objects, [`code`] reads the methods. [`read`] puts them together.

pub mod code;
pub mod pickle;
pub mod zip;

mod classes;
mod cleanup;
mod emit;
mod library;
mod objects;
mod packed;
mod program;
mod restore;
mod tensors;
mod types;

use bytes::Bytes;
use planish_ir::GraphModule;

use self::library::Library;
use self::program::Program;
use self::zip::{Archive, Limits};
use crate::error::Result;

/// Reads a whole archive; `origin` names it in the model.
///
/// Tensors stay slices of `bytes`: nothing is copied.
pub fn read(bytes: Bytes, origin: &str) -> Result<GraphModule> {
    let archive = Archive::open(bytes, Limits::default())?;
    let version = archive.version()?;
    archive.check_byte_order()?;
    let mut library = Library::new(&archive);
    library.constants = objects::constants(&archive, &mut library)?;
    let (model, restores) = objects::modules(&archive, &mut library, origin)?;
    let mut program = Program::new(library, model, version);
    program.emit(&restores)?;
    let mut model = program.model;
    restore::run(&mut model, &restores)?;
    Ok(model)
}
