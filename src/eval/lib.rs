//! The reference meaning of every operator planish knows: a plain interpreter.
//!
//! Everything that computes with a model asks this crate what an operator means: the importer runs `__setstate__` with it, constant
//! folding evaluates nodes with it, the runtime falls back to it, and compiled kernels must equal it bit for bit.
//!
//! - [`Interpreter`] runs the methods of a model, [`run_graph`] a graph on its own, [`eval_node`] one node, [`apply`] one operator.
//! - A [`Value`] is what flows through a program; a [`Tensor`] is a strided view of a [`Storage`] that others may share and write to.
//!
//! # What is exact
//!
//! Quantized operators follow a [`Contract`] to the bit: sums of products of codes are exact 32-bit integers, and the way from sums to
//! codes is fixed to the last rounding. Data movement, comparison, integer arithmetic and single floating-point operations are exact as
//! well. Floating-point operators that sum (convolutions, `linear`, `softmax`, norms, means) add in `f64` and round once, which PyTorch
//! does not: there results are the best ones, not PyTorch's. Transcendental functions are those of the platform's math library.
//!
//! # Layouts
//!
//! Results get the strides PyTorch gives them (channels last survives elementwise operators, a quantized convolution makes it, …),
//! because a few quantized operators, `quantized::add` for one, treat elements by their place in memory.
//!
//! # Hostile input
//!
//! [`Limits`] bound work, nesting and memory. Nothing here panics on what a file says.

mod call;
mod contract;
mod error;
mod float;
mod interp;
mod limits;
mod ops;
mod promote;
mod tensor;
mod value;

pub use contract::Contract;
pub use error::{Error, Result};
pub use interp::{Interpreter, Trace, apply, eval_node, is_known, run_graph};
pub use limits::Limits;
pub use tensor::{ALIGNMENT, BytesMut, BytesRef, MemoryFormat, Raw, Storage, Tensor};
pub use value::{Dict, Entries, Key, List, Object, Tuple, Value, to_literal};
