//! TorchScript archives, as `torch.jit.save` writes them.
//!
//! Reading goes through three rooms, each usable on its own: [`zip`] opens the container,
//! [`pickle`] reads the objects, [`code`] reads the methods.

pub mod code;
pub mod pickle;
pub mod zip;
