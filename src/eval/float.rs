//! Functions of floats as PyTorch 2.15 computes them on a CPU with AVX512, to the bit, on any CPU.
//!
//! PyTorch computes most elements in vectors, by functions of SLEEF, and the last ones of a run one at a time, by the C library's (glibc
//! before 2.41). The two differ in the last bit, so both are here. Where the formulas come from and on how many values they were compared
//! with PyTorch stands in `docs/numerics.md`.

mod erf;
mod exp;
mod log;
pub(crate) mod moments;
mod pair;
pub(crate) mod product;
pub(crate) mod softmax;
pub(crate) mod sum;
mod tanh;

pub(crate) use erf::gelu;

/// Elements that a vector loop over floats takes at a time: two vectors of 16.
pub(crate) const BLOCK: i64 = 32;

/// The functions that one of the two ways to compute uses.
pub(crate) struct Functions {
    pub(crate) exp: fn(f32) -> f32,
    pub(crate) exp_m1: fn(f32) -> f32,
    pub(crate) log: fn(f32) -> f32,
    pub(crate) log1p: fn(f32) -> f32,
    pub(crate) tanh: fn(f32) -> f32,
    pub(crate) erf: fn(f32) -> f32,
    /// A zero made of what has no more value.
    pub(crate) zero: fn(f32) -> f32,
}

/// The functions of vectors.
pub(crate) const VECTOR: Functions = Functions {
    exp: exp::exp,
    exp_m1: exp::exp_m1,
    log: log::log,
    log1p: log::log1p,
    tanh: tanh::tanh,
    erf: erf::erf,
    zero: |_| 0.0,
};

/// The functions of single elements.
pub(crate) const SINGLE: Functions = Functions {
    exp: exp::exp_single,
    exp_m1: tanh::exp_m1_single,
    log: log::log,
    log1p: log::log1p_single,
    tanh: tanh::tanh_single,
    erf: erf::erf_single,
    zero: |x| x * 0.0,
};
