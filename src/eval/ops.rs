//! What each operator computes.
//!
//! One file holds one group of operators. A kernel is found by the qualified name of its operator, with the overload where overloads
//! differ in more than the types of their arguments; otherwise the kernel looks at the arguments it gets.

#![expect(
    clippy::unnecessary_wraps,
    reason = "kernels share one signature, though a few cannot fail"
)]

mod activation;
mod affine;
mod algebra;
mod alias;
mod arith;
mod bag;
mod compare;
mod composed;
mod conv;
mod create;
mod cubic;
mod decomposed;
mod diagonal;
mod distance;
mod einsum;
mod elementwise;
mod fake_quant;
mod grid_sample;
mod index;
mod join;
mod list;
mod loss;
mod matmul;
mod moments;
mod norm;
mod number;
mod order;
mod out;
mod pack;
mod pad;
mod pool;
mod quant;
mod quantized;
mod recurrent;
mod reduce;
mod resample;
mod rnn;
mod running;
mod scatter;
mod search;
mod select;
mod sequence;
mod shape;
mod softmax;
mod sort;
mod special;
mod statistics;
mod ternary;
mod text;
mod trapezoid;
#[cfg(test)]
mod trial;
mod unfold;
mod unpool;
mod upsample;
mod vector;
mod window;

use std::collections::HashMap;
use std::sync::LazyLock;

use planish_ir::{Op, Sym};

use crate::call::Call;
use crate::{Result, Value};

pub(crate) use alias::find;
pub(crate) use out::write as write_out;
pub(crate) use pack::packed_method;
pub(crate) use shape::chunks;

/// How an operator is computed.
#[derive(Clone, Copy)]
pub(crate) enum Kernel {
    /// One result.
    One(fn(&Call<'_>) -> Result<Value>),
    /// Any number of results.
    Many(fn(&Call<'_>) -> Result<Vec<Value>>),
}

/// Names with their kernels.
type Table = &'static [(&'static str, Kernel)];

const TABLES: &[Table] = &[
    activation::OPS,
    algebra::OPS,
    arith::OPS,
    bag::OPS,
    compare::OPS,
    composed::OPS,
    conv::OPS,
    create::OPS,
    decomposed::OPS,
    diagonal::OPS,
    distance::OPS,
    einsum::OPS,
    fake_quant::OPS,
    grid_sample::OPS,
    index::OPS,
    join::OPS,
    list::OPS,
    loss::OPS,
    matmul::OPS,
    moments::OPS,
    norm::OPS,
    number::OPS,
    pack::OPS,
    pad::OPS,
    pool::OPS,
    quant::OPS,
    quantized::binary::OPS,
    quantized::conv::OPS,
    quantized::embedding::OPS,
    quantized::linear::OPS,
    quantized::norm::OPS,
    quantized::unary::OPS,
    recurrent::OPS,
    reduce::OPS,
    resample::OPS,
    rnn::OPS,
    running::OPS,
    scatter::OPS,
    search::OPS,
    sequence::OPS,
    shape::OPS,
    softmax::OPS,
    sort::OPS,
    statistics::OPS,
    ternary::OPS,
    text::OPS,
    trapezoid::OPS,
    unfold::OPS,
    unpool::OPS,
    upsample::OPS,
];

static KERNELS: LazyLock<HashMap<Sym, Kernel>> = LazyLock::new(|| {
    let entries = TABLES.iter().copied().flatten();
    entries
        .map(|(name, kernel)| (Sym::new(name), *kernel))
        .collect()
});

/// The kernel of an operator: its overload's own, else the one for all overloads.
fn kernel(op: Op) -> Option<Kernel> {
    if op.info().overload != *"" {
        let qualified = Sym::new(&op.to_string());
        if let Some(kernel) = KERNELS.get(&qualified) {
            return Some(*kernel);
        }
    }
    KERNELS.get(&op.name()).copied()
}

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_has_two_kernels() {
        let count: usize = TABLES.iter().map(|table| table.len()).sum();
        assert_eq!(KERNELS.len(), count);
    }
}
