//! Readers of model files: TorchScript archives.

mod error;
pub mod torchscript;

pub use error::{Error, Result};
