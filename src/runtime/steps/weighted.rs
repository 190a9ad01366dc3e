//! Convolutions and linear layers.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use planish_eval::{Tensor, Value};
use planish_ir::{DType, Dims, PackedParams, QParams, contiguous_strides};
use planish_kernels::{Codes, Conv2d, Epilogue, Linear, WeightScales};

use super::{KernelStep, Outcome, affine, output, scale_and_zero, sizes, tensor, with_bytes};
use crate::arena::Arena;
use crate::{Call, RunError};

/// A weight as its kernel reads it.
#[derive(Debug)]
pub(crate) struct Weight {
    params: Arc<PackedParams>,
    packed: Bytes,
    bias: Option<Vec<f32>>,
    /// The output stage for the scales of the last call; they rarely change.
    epilogue: Mutex<Option<([u32; 2], Arc<Epilogue>)>>,
}

impl Weight {
    /// A weight and the bytes that the packing kernel made of it.
    pub(crate) fn new(params: Arc<PackedParams>, packed: Bytes) -> Result<Self, RunError> {
        let bias = params.bias.as_ref().map(|bias| {
            bias.values::<f32>()
                .ok_or(RunError::Weight("its bias is not of type float"))
        });
        let bias = bias.transpose()?;
        Ok(Self {
            params,
            packed,
            bias,
            epilogue: Mutex::new(None),
        })
    }
}

impl KernelStep {
    pub(super) fn conv2d(
        &self,
        conv: &Conv2d,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let (Some(x), Some((scale, zero))) = (tensor(inputs, 0), scale_and_zero(inputs, 2)) else {
            return Ok(Outcome::NotTaken(
                "its operands are not a tensor, a weight, a scale and a zero point",
            ));
        };
        // One spatial dimension is two with height 1.
        let (image, last): ([usize; 4], _) = match *x.shape() {
            [n, c, l] => (sizes(&[n, c, 1, l]).unwrap_or_default(), vec![0, 2, 1]),
            _ => (sizes(x.shape()).unwrap_or_default(), vec![0, 2, 3, 1]),
        };
        let [images, channels, height, width] = image;
        let Some([out_height, out_width]) = conv
            .output_size([height, width])
            .filter(|_| channels == conv.inputs)
        else {
            let shape = x.shape();
            return Err(RunError::Shape(format!(
                "give a tensor of shape {shape:?} to a convolution of {} channels",
                conv.inputs
            )));
        };
        let nhwc = self.channels_last(x, image, &last, arena)?;
        let shape: Vec<i64> = match x.shape().len() {
            3 => vec![images as i64, conv.outputs as i64, out_width as i64],
            _ => [images, conv.outputs, out_height, out_width]
                .map(|size| size as i64)
                .to_vec(),
        };
        let strides = channels_last_strides(&shape);
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some((scale, zero)),
        )?;
        self.weighted(
            x,
            &nhwc,
            [images, height, width],
            (scale, zero),
            &out,
            arena,
        )?;
        let macs = out.numel() as u64
            * (conv.inputs / conv.groups * conv.kernel[0] * conv.kernel[1]) as u64;
        Ok(Outcome::Done(out, macs))
    }

    pub(super) fn linear(
        &self,
        linear: Linear,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let (Some(x), Some((scale, zero))) = (tensor(inputs, 0), scale_and_zero(inputs, 2)) else {
            return Ok(Outcome::NotTaken(
                "its operands are not a tensor, a weight, a scale and a zero point",
            ));
        };
        let [rows @ .., features] = x.shape() else {
            return Ok(Outcome::NotTaken("its input has no dimension"));
        };
        if *features != linear.inputs as i64 {
            return Err(RunError::Shape(format!(
                "give a tensor of shape {:?} to a linear layer of {} features",
                x.shape(),
                linear.inputs
            )));
        }
        let count = x.numel() / linear.inputs;
        let mut shape: Dims = rows.into();
        shape.push(linear.outputs as i64);
        let dense = x.contiguous(planish_eval::MemoryFormat::Contiguous)?;
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &contiguous_strides(&shape),
            Some((scale, zero)),
        )?;
        self.weighted(x, &dense, [1, 1, count], (scale, zero), &out, arena)?;
        let macs = out.numel() as u64 * linear.inputs as u64;
        Ok(Outcome::Done(out, macs))
    }

    /// The elements of images in channels-last order, as a tensor whose memory is in that order.
    pub(super) fn channels_last(
        &self,
        x: &Tensor,
        [images, channels, height, width]: [usize; 4],
        last: &[usize],
        arena: &mut Arena,
    ) -> Result<Tensor, RunError> {
        let nhwc = x.permute(last)?;
        if nhwc.is_contiguous() {
            return Ok(nhwc);
        }
        let Some(relayout) = self.to_nhwc.as_ref().filter(|_| x.is_contiguous()) else {
            return Ok(nhwc.contiguous(planish_eval::MemoryFormat::Contiguous)?);
        };
        let shape = nhwc.shape().to_vec();
        let qparams = x.qparams().and_then(|qparams| match qparams {
            QParams::PerTensor { scale, zero_point } => Some((scale, zero_point)),
            QParams::PerChannel { .. } => None,
        });
        let out = output(
            arena,
            None,
            x.dtype(),
            &shape,
            &contiguous_strides(&shape),
            qparams,
        )?;
        let size = [images, channels, height, width];
        with_bytes(x, &out, |x, out| {
            relayout.call(Call::Relayout { x, size, out })
        })?;
        Ok(out)
    }

    fn weighted(
        &self,
        x: &Tensor,
        dense: &Tensor,
        size: [usize; 3],
        (scale, zero): (f64, i64),
        out: &Tensor,
        arena: &mut Arena,
    ) -> Result<(), RunError> {
        let weight = self
            .weight
            .as_ref()
            .ok_or(RunError::Weight("it was not packed"))?;
        let quant = affine(x).ok_or(RunError::Weight(
            "its input is not a quint8 tensor with one scale",
        ))?;
        let epilogue = self.epilogue(weight, quant.scale, scale as f32)?;
        let codes = output_codes(zero, self.relu)?;
        let zero = u8::try_from(quant.zero)
            .map_err(|_| RunError::Weight("the zero point of its input is not a code"))?;
        let scratch = arena.scratch(self.entry.kernel().scratch_len([size[1], size[2]]));
        with_bytes(dense, out, |x, out| {
            let weights = &weight.packed;
            self.entry.call(Call::Weighted {
                x,
                size,
                zero,
                weights,
                epilogue: &epilogue,
                codes,
                scratch,
                out,
            })
        })
    }

    fn epilogue(&self, weight: &Weight, x: f32, out: f32) -> Result<Arc<Epilogue>, RunError> {
        let key = [x.to_bits(), out.to_bits()];
        let mut last = weight
            .epilogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, epilogue)) = last.as_ref().filter(|(of, _)| *of == key) {
            return Ok(Arc::clone(epilogue));
        }
        let channels: Vec<f32>;
        let scales = match weight.params.weight.qparams() {
            Some(QParams::PerTensor { scale, .. }) => WeightScales::PerTensor(*scale as f32),
            Some(QParams::PerChannel { scales, .. }) => {
                channels = scales.iter().map(|scale| *scale as f32).collect();
                WeightScales::PerChannel(&channels)
            }
            None => return Err(RunError::Weight("its weight has no scale")),
        };
        let kernel = self.entry.kernel();
        let bias = weight.bias.as_deref();
        let epilogue = Arc::new(Epilogue::new(
            kernel.spec(),
            kernel.contract(),
            x,
            scales,
            bias,
            out,
        )?);
        *last = Some((key, Arc::clone(&epilogue)));
        Ok(epilogue)
    }
}

/// Zero point and bounds of the output.
pub(super) fn output_codes(zero: i64, relu: bool) -> Result<Codes, RunError> {
    let zero = u8::try_from(zero)
        .map_err(|_| RunError::Shape(format!("quantize with the zero point {zero}")))?;
    let codes = Codes::u8(i32::from(zero));
    Ok(if relu { codes.relu() } else { codes })
}

/// Dense strides with channels, the second dimension, innermost; for one spatial dimension as for two.
fn channels_last_strides(shape: &[i64]) -> Dims {
    planish_ir::channels_last_strides(shape)
}
