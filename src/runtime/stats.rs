//! What a call did.

use planish_eval::{Tensor, Value};
use planish_ir::Op;

use crate::Fallback;

/// Counters of one or several calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of kernels.
    pub kernel_calls: u64,
    /// Products of integers that kernels summed.
    pub kernel_macs: u64,
    /// Products that the reference evaluator summed.
    pub evaluated_macs: u64,
    /// Buffers that had to be allocated; none from the second call with the same sizes on.
    pub allocations: u64,
    /// Operators whose kernel did not read the tensors that it was given, so that the reference evaluator computed them; each once for each
    /// reason, in the order in which they were met.
    pub not_taken: Vec<Fallback>,
}

impl Stats {
    /// Share of products that kernels summed; 1 when there were none.
    pub fn coverage(&self) -> f64 {
        let all = self.kernel_macs + self.evaluated_macs;
        if all == 0 {
            1.0
        } else {
            self.kernel_macs as f64 / all as f64
        }
    }

    pub(crate) fn kernel(&mut self, macs: u64) {
        self.kernel_calls += 1;
        self.kernel_macs += macs;
    }

    pub(crate) fn not_taken(&mut self, fallback: Fallback) {
        if !self.not_taken.contains(&fallback) {
            self.not_taken.push(fallback);
        }
    }

    /// Counts the products of an operator that multiplies matrices.
    pub(crate) fn evaluated(&mut self, op: Op, inputs: &[Value], outputs: &[Value]) {
        let out = outputs.first().and_then(Value::as_tensor);
        let products = out.and_then(|out| products(op.name().as_str(), inputs, out));
        self.evaluated_macs = self.evaluated_macs.saturating_add(products.unwrap_or(0));
    }
}

/// The products that an operator sums for its output; `None` for one that sums none.
fn products(name: &str, inputs: &[Value], out: &Tensor) -> Option<u64> {
    let tensor = |index: usize| inputs.get(index).and_then(Value::as_tensor);
    let x = tensor(0);
    // The tensor whose elements each take part in `depth` products, and the sizes that `depth` is the product of.
    let (each, depth): (&Tensor, &[i64]) = match name {
        "aten::conv1d" | "aten::conv2d" | "aten::conv3d" => (out, tensor(1)?.shape().get(1..)?),
        // Every element of the input meets every weight of its channel once.
        "aten::conv_transpose1d" | "aten::conv_transpose2d" | "aten::conv_transpose3d" => {
            (x?, tensor(1)?.shape().get(1..)?)
        }
        "aten::linear" => (out, last(tensor(1)?)),
        "aten::matmul" | "aten::mm" | "aten::bmm" | "aten::mv" => (out, last(x?)),
        "aten::addmm" | "aten::baddbmm" => (out, last(tensor(1)?)),
        _ if name.starts_with("quantized::conv") || name.starts_with("quantized::linear") => {
            // Unpacking multiplies nothing, and its output is the weight.
            let [Value::Tensor(x), Value::Packed(params), ..] = inputs else {
                return None;
            };
            let depth = params.weight.shape().get(1..)?;
            if name.starts_with("quantized::conv_transpose") {
                return Some(volume(x.shape()).saturating_mul(volume(depth)));
            }
            (out, depth)
        }
        _ => return None,
    };
    Some(volume(each.shape()).saturating_mul(volume(depth)))
}

/// The last size of a tensor, if it has one.
fn last(tensor: &Tensor) -> &[i64] {
    let shape = tensor.shape();
    &shape[shape.len().saturating_sub(1)..]
}

fn volume(sizes: &[i64]) -> u64 {
    sizes.iter().fold(1, |volume: u64, size| {
        volume.saturating_mul(size.max(&0).cast_unsigned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeros(shape: &[i64]) -> Tensor {
        Tensor::zeros(
            planish_ir::DType::Float,
            shape,
            planish_eval::MemoryFormat::Contiguous,
        )
        .unwrap()
    }

    #[test]
    fn products_of_operators() {
        let count = |name: &str, inputs: &[&[i64]], out: &[i64]| {
            let inputs: Vec<Value> = inputs
                .iter()
                .map(|shape| Value::Tensor(zeros(shape)))
                .collect();
            products(name, &inputs, &zeros(out))
        };
        let conv = count(
            "aten::conv2d",
            &[&[1, 4, 5, 5], &[6, 2, 3, 3]],
            &[1, 6, 3, 3],
        );
        assert_eq!(conv, Some(54 * 18));
        let transposed = count(
            "aten::conv_transpose2d",
            &[&[1, 6, 3, 3], &[6, 2, 3, 3]],
            &[1, 4, 5, 5],
        );
        assert_eq!(transposed, Some(54 * 18));
        assert_eq!(
            count("aten::linear", &[&[7, 3], &[5, 3]], &[7, 5]),
            Some(105)
        );
        assert_eq!(
            count("aten::matmul", &[&[2, 7, 3], &[3, 5]], &[2, 7, 5]),
            Some(210)
        );
        assert_eq!(count("aten::relu", &[&[7]], &[7]), None);
        assert_eq!(count("quantized::linear_unpack", &[], &[7]), None);
    }
}
