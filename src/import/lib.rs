//! Readers of model files: TorchScript archives become a [`GraphModule`].
//!
//! Nothing in a file is executed: pickles are read by an own machine with an allow-list, code by an
//! own parser of the small subset that PyTorch prints. Sizes, counts and depths are bounded, and
//! every error names the place.
//!
//! # Operators of one's own
//!
//! Code names an operator without its overload and leaves out arguments that equal their defaults, so its schema must be known. PyTorch's
//! own operators are; those of a library of custom operators are declared before the file is read, in PyTorch's spelling, overloads in the
//! order of their registration there:
//!
//! ```no_run
//! use planish_ir::Op;
//!
//! Op::register("mylib::scale(Tensor x, float by=2.0, *, int[2] kernel=1) -> Tensor")?;
//! let model = planish_import::open("net.pt")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Passes treat such an operator as its alias annotations say and leave it where it stands.

mod detect;
mod error;
pub mod torchscript;

use std::path::Path;

use bytes::Bytes;
use planish_ir::GraphModule;

pub use error::{Error, Result};
use torchscript::zip::{Archive, Limits};

/// Reads the whole model file at `path` into memory. `planish::import::open` maps it instead, which this crate cannot do safely.
pub fn open(path: impl AsRef<Path>) -> Result<GraphModule> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    read(bytes.into(), &name.to_string_lossy())
}

/// Reads a model file that is in memory; `name` stands for it in messages.
///
/// Tensors stay slices of `bytes`, so that a mapped file is never copied.
pub fn read(bytes: Bytes, name: &str) -> Result<GraphModule> {
    let is_zip = bytes.starts_with(b"PK");
    let archive = if is_zip {
        Some(Archive::open(bytes.clone(), Limits::default())?)
    } else {
        None
    };
    if let Some(what) = detect::foreign(&bytes, archive.as_ref()) {
        return Err(Error::Format {
            name: name.to_owned(),
            what,
        });
    }
    torchscript::read(bytes, name)
}
