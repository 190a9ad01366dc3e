//! Operators that take and give codes.
//!
//! The formulas are those of `docs/numerics.md`; the order of roundings is the point of every one of them.

pub(super) mod binary;
pub(super) mod conv;
pub(super) mod embedding;
pub(super) mod linear;
pub(super) mod norm;
pub(super) mod reduce;
pub(super) mod stage;
pub(super) mod unary;

pub(super) use binary::cat_like_first;
