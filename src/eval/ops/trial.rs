//! What tests of operators begin with.

use planish_ir::Op;

use crate::{Contract, Tensor, Value, apply};

/// The first result of an operator, which is a tensor.
pub(super) fn run(op: &str, inputs: &[Value]) -> Tensor {
    let out = apply(Op::of(op), inputs, Contract::Fbgemm)
        .unwrap()
        .remove(0);
    out.as_tensor().unwrap().clone()
}

/// A contiguous tensor of 0, 1, 2, ….
pub(super) fn counting(shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| i as f32).collect();
    Tensor::from_values(shape, &values).unwrap()
}

/// A tensor of one dimension.
pub(super) fn row(values: &[f32]) -> Value {
    Tensor::from_values(&[values.len() as i64], values)
        .unwrap()
        .into()
}
