//! Pools over images.

use planish_eval::{MemoryFormat, Value};
use planish_ir::{DType, QParams};
use planish_kernels::KernelSpec;

use super::{KernelStep, Outcome, affine, output, sizes, tensor, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn pool(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let Some((x, quant)) = tensor(inputs, 0).and_then(|x| Some((x, affine(x)?))) else {
            return Ok(Outcome::NotTaken(
                "its operand is not a quint8 tensor with one scale",
            ));
        };
        let Some([images, channels, height, width]) = sizes::<4>(x.shape()) else {
            return Ok(Outcome::NotTaken("its operand is not a batch of images"));
        };
        let Some(QParams::PerTensor { scale, zero_point }) = x.qparams() else {
            return Ok(Outcome::NotTaken(
                "its operand is not a quint8 tensor with one scale",
            ));
        };
        // A mean rounds differently in rows than in channels-last order: only the latter is what the kernels compute.
        if x.memory_format() != MemoryFormat::ChannelsLast
            || !x.is_dense(MemoryFormat::ChannelsLast)
        {
            return Ok(Outcome::NotTaken(
                "its operand is not in channels-last order",
            ));
        }
        let Some(out_size) = self.out_size(inputs, [height, width]) else {
            return Ok(Outcome::NotTaken(
                "its output size is not one that the kernel computes",
            ));
        };
        let shape = [images, channels, out_size[0], out_size[1]].map(|size| size as i64);
        let strides = MemoryFormat::ChannelsLast.strides(&shape);
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some((scale, zero_point)),
        )?;
        let zero = u8::try_from(quant.zero)
            .map_err(|_| RunError::Weight("the zero point of its input is not a code"))?;
        let size = [images, height, width, channels];
        with_bytes(x, &out, |x, out| {
            self.entry.call(Call::Pool {
                x,
                size,
                zero,
                out_size,
                out,
            })
        })?;
        Ok(Outcome::Done(out, 0))
    }

    /// Height and width of the output.
    fn out_size(&self, inputs: &[Value], image: [usize; 2]) -> Option<[usize; 2]> {
        let (kernel, stride, padding, dilation, ceil_mode) = match self.entry.kernel().spec() {
            KernelSpec::MaxPool2d(pool) => (
                pool.kernel,
                pool.stride,
                pool.padding,
                pool.dilation,
                inputs.get(5)?,
            ),
            KernelSpec::AvgPool2d(pool) => (
                pool.kernel,
                pool.stride,
                pool.padding,
                [1, 1],
                inputs.get(4)?,
            ),
            _ => {
                let Value::List(list) = inputs.get(1)? else {
                    return None;
                };
                let wanted: Vec<Value> = list.to_vec();
                let mut size = [0; 2];
                for (at, value) in wanted.iter().enumerate().take(2) {
                    // `None` keeps the size of the input.
                    size[at] = if value.is_none() {
                        image[at]
                    } else {
                        usize::try_from(value.as_int()?).ok()?
                    };
                }
                // The kernel averages windows of one size.
                let even = (0..2).all(|at| size[at] > 0 && image[at] % size[at] == 0);
                return (even && wanted.len() == 2).then_some(size);
            }
        };
        let Value::Bool(ceil_mode) = ceil_mode else {
            return None;
        };
        let mut out = [0; 2];
        for at in 0..2 {
            let padded = image[at] + 2 * padding[at];
            let reach = padded.checked_sub(dilation[at] * (kernel[at] - 1) + 1)?;
            let steps = if *ceil_mode {
                reach.div_ceil(stride[at])
            } else {
                reach / stride[at]
            };
            // A window that would begin in the padding behind the image is left out.
            let inside = steps * stride[at] < image[at] + padding[at];
            out[at] = if inside { steps + 1 } else { steps };
        }
        Some(out)
    }
}
