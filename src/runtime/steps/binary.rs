//! Sums and products of two tensors.

use planish_eval::Value;
use planish_ir::DType;
use planish_kernels::KernelSpec;

use super::weighted::output_codes;
use super::{KernelStep, NOT_CODES, Outcome, Scaling, codes, dense, output, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn binary(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let (Some((x, x_scaling)), Some((y, y_scaling))) = (codes(inputs, 0), codes(inputs, 1))
        else {
            return Ok(Outcome::NotTaken(NOT_CODES));
        };
        let Some(scaling) = Scaling::among(inputs, 2) else {
            return Ok(Outcome::NotTaken(
                "its scale and zero point are no numbers of codes",
            ));
        };
        if x.shape() != y.shape() {
            return Ok(Outcome::NotTaken("its operands have different shapes"));
        }
        // Which formula an element of a sum gets depends on its place in memory, and on the layouts of both operands. Products know no
        // places: there operands of different layouts may be brought together.
        let format = x.memory_format();
        let is_sum = matches!(self.entry.kernel().spec(), KernelSpec::Add);
        if is_sum && !(x.is_dense(format) && y.is_dense(format)) {
            return Ok(Outcome::NotTaken("its operands have different layouts"));
        }
        let (x, format) = dense(x)?;
        let mut y = y.contiguous(format)?;
        if y.shares_storage(&x) {
            // One thread must not lock a storage twice: a writer might wait between.
            y = y.copied(Some(format))?;
        }
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            x.shape(),
            &format.strides(x.shape()),
            Some(scaling),
        )?;
        let codes = output_codes(scaling, self.variant.relu);
        let gaps = || RunError::Shape("read a tensor with gaps as one run of memory".to_owned());
        let called = y.with_bytes(|y| {
            with_bytes(&x, &out, |x, out| {
                self.entry.call(Call::Binary {
                    x,
                    x_quant: x_scaling.affine(),
                    y,
                    y_quant: y_scaling.affine(),
                    scale: scaling.affine().scale,
                    codes,
                    out,
                })
            })
        });
        called.ok_or_else(gaps)??;
        Ok(Outcome::Done(out, 0))
    }
}
