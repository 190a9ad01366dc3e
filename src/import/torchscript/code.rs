//! The code files: the small, regular subset of Python that `torch.jit.save` prints.
//!
//! There are no comparisons, no boolean or arithmetic operators, no comprehensions, lambdas or
//! decorators: whatever computes is a call. Anything outside the subset is an error that names
//! file, line and construct.

pub mod ast;
mod lex;
mod parse;

pub use parse::parse;
pub(crate) use parse::parse_type;
