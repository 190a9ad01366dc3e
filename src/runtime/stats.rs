//! What a call did.

use planish_eval::Value;
use planish_ir::Op;

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
    /// Operators whose kernel did not read the tensors that it was given, with the reason, in the order in which they were met.
    pub not_taken: Vec<(String, &'static str)>,
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

    pub(crate) fn not_taken(&mut self, op: &str, reason: &'static str) {
        if !self
            .not_taken
            .iter()
            .any(|(known, why)| known == op && *why == reason)
        {
            self.not_taken.push((op.to_owned(), reason));
        }
    }

    /// Counts the products of an operator that multiplies matrices.
    pub(crate) fn evaluated(&mut self, op: Op, inputs: &[Value], outputs: &[Value]) {
        let Some(out) = outputs.first().and_then(Value::as_tensor) else {
            return;
        };
        let shape = |index: usize| {
            inputs
                .get(index)
                .and_then(Value::as_tensor)
                .map(planish_eval::Tensor::shape)
        };
        // Products for each element of the output.
        let name = op.name().as_str();
        let depth = match name {
            "aten::conv1d" | "aten::conv2d" | "aten::conv3d" => {
                shape(1).map(|weight| weight[1..].iter().product())
            }
            "aten::conv_transpose1d" | "aten::conv_transpose2d" | "aten::conv_transpose3d" => {
                // Every element of the input meets every weight of its channel once.
                let (Some(x), Some(weight)) = (shape(0), shape(1)) else {
                    return;
                };
                let macs: i64 = x.iter().chain(&weight[1..]).product();
                self.evaluated_macs += macs.max(0).cast_unsigned();
                return;
            }
            "aten::linear" => shape(1).and_then(|weight| weight.last().copied()),
            "aten::matmul" | "aten::mm" | "aten::bmm" => shape(0).and_then(|x| x.last().copied()),
            "aten::addmm" => shape(1).and_then(|x| x.last().copied()),
            _ if name.starts_with("quantized::conv") || name.starts_with("quantized::linear") => {
                let Some(Value::Packed(params)) = inputs
                    .iter()
                    .find(|value| matches!(value, Value::Packed(_)))
                else {
                    return;
                };
                Some(params.weight.shape()[1..].iter().product())
            }
            _ => None,
        };
        let depth: i64 = depth.unwrap_or(0);
        self.evaluated_macs += depth.max(0).cast_unsigned() * out.numel() as u64;
    }
}
