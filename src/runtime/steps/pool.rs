//! Pools over images.

use planish_eval::{MemoryFormat, Value};
use planish_ir::DType;
use planish_kernels::KernelSpec;

use super::{KernelStep, NOT_CODES, Outcome, codes, output, sizes, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

impl KernelStep {
    pub(super) fn pool(&self, inputs: &[Value], arena: &mut Arena) -> Result<Outcome, RunError> {
        let Some((x, scaling)) = codes(inputs, 0) else {
            return Ok(Outcome::NotTaken(NOT_CODES));
        };
        // A line is an image of height 1, also where its channels stand in memory.
        let x = match (self.variant.rank, x.rank()) {
            (3, 3) => &x.unsqueeze(2)?,
            _ => x,
        };
        let image = match x.shape() {
            [n, c, h, w] => sizes([*n, *c, *h, *w]),
            _ => None,
        };
        let Some([images, channels, height, width]) = image else {
            return Ok(Outcome::NotTaken("its operand is not a batch of images"));
        };
        let Some(out_size) = self.out_size(inputs, [height, width]) else {
            return Ok(Outcome::NotTaken(
                "its windows are not such as its kernel computes",
            ));
        };
        let format = x.memory_format();
        // A mean rounds differently in rows than in channels-last order, which is what kernels compute; only when the zero point is 0 it
        // makes no difference to a window of fixed size where it is added.
        let any_order = match self.entry.kernel().spec() {
            KernelSpec::MaxPool2d(_) => true,
            KernelSpec::AvgPool2d(_) => scaling.zero_point == 0,
            _ => false,
        };
        let size = match format {
            MemoryFormat::ChannelsLast => [images, height, width, channels],
            // Planes that follow each other are images of one channel.
            MemoryFormat::Contiguous if any_order => [images * channels, height, width, 1],
            MemoryFormat::Contiguous => {
                return Ok(Outcome::NotTaken(
                    "its operand is not in channels-last order",
                ));
            }
        };
        let mut shape = [images, channels, out_size[0], out_size[1]]
            .map(|size| size as i64)
            .to_vec();
        let mut strides = format.strides(&shape);
        if self.variant.rank == 3 {
            shape.remove(2);
            strides.remove(2);
        }
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some(scaling),
        )?;
        with_bytes(&x.contiguous(format)?, &out, |x, out| {
            self.entry.call(Call::Pool {
                x,
                size,
                zero: scaling.zero_point as u8,
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
            _ => return adaptive_size(inputs, image),
        };
        let Value::Bool(ceil_mode) = ceil_mode else {
            return None;
        };
        let mut out = [0; 2];
        for at in 0..2 {
            let padded = image[at].checked_add(2 * padding[at])?;
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

/// The size that an adaptive pool is asked for, when its windows are all of one size: such are those of the kernel.
fn adaptive_size(inputs: &[Value], image: [usize; 2]) -> Option<[usize; 2]> {
    let Some(Value::List(list)) = inputs.get(1) else {
        return None;
    };
    let [height, width]: [Value; 2] = list.to_vec().try_into().ok()?;
    let along = |wanted: Value, own: usize| match wanted {
        Value::None => Some(own),
        wanted => {
            let wanted = usize::try_from(wanted.as_int()?).ok()?;
            (wanted > 0 && own.is_multiple_of(wanted)).then_some(wanted)
        }
    };
    Some([along(height, image[0])?, along(width, image[1])?])
}
