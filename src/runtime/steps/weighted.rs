//! Convolutions and linear layers.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use planish_eval::{MemoryFormat, Tensor, Value};
use planish_ir::{DType, Dims, PackedParams, QParams, contiguous_strides};
use planish_kernels::{Codes, Conv2d, Epilogue, Linear, WeightScales};

use super::{KernelStep, Outcome, Scaling, codes, output, sizes, with_bytes};
use crate::arena::Arena;
use crate::{Call, Entry, RunError};

const NOT_NUMBERS: &str = "its operands are not a quint8 tensor with one scale, a weight, and a scale and zero point of codes";

/// A weight as its kernel reads it.
#[derive(Debug)]
pub(crate) struct Weight {
    params: Arc<PackedParams>,
    packed: Bytes,
    bias: Option<Vec<f32>>,
    /// The output stage for the scales of the last call; they rarely change.
    epilogue: Mutex<Option<([u32; 2], Arc<Epilogue>)>>,
}

/// What a kernel reads its input from.
struct Readable<'a> {
    /// A dense tensor.
    tensor: Tensor,
    /// What brings it into channels-last order, with its images, channels, height and width.
    relayout: Option<(&'a Entry, [usize; 4])>,
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
        // The oldest form repeats the geometry between weight and scale.
        let at = inputs.len().saturating_sub(2).max(2);
        let (Some((x, from)), Some(to)) = (codes(inputs, 0), Scaling::among(inputs, at)) else {
            return Ok(Outcome::NotTaken(NOT_NUMBERS));
        };
        if x.rank() + 1 == self.variant.rank {
            return Ok(Outcome::NotTaken("its input is one image, without a batch"));
        }
        // One spatial dimension is two with height 1.
        let image = match (self.variant.rank, x.shape()) {
            (3, [n, c, l]) => sizes([*n, *c, 1, *l]),
            (4, [n, c, h, w]) => sizes([*n, *c, *h, *w]),
            _ => None,
        };
        let fitting = image
            .filter(|[_, channels, ..]| *channels == conv.inputs)
            .and_then(|image| Some((image, conv.output_size([image[2], image[3]])?)));
        let Some((image, [out_height, out_width])) = fitting else {
            return Err(RunError::Shape(format!(
                "give a tensor of shape {:?} to the convolution {}",
                x.shape(),
                self.entry.kernel().spec()
            )));
        };
        let [images, _, height, width] = image;
        let (mut shape, order): (Vec<i64>, &[usize]) = match self.variant.rank {
            3 => (vec![images as i64, conv.outputs as i64], &[0, 2, 1]),
            _ => (
                vec![images as i64, conv.outputs as i64, out_height as i64],
                &[0, 2, 3, 1],
            ),
        };
        shape.push(out_width as i64);
        let x = self.readable(x, image, order)?;
        let strides = planish_ir::channels_last_strides(&shape);
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some(to),
        )?;
        let size = [images, height, width];
        self.weighted(&x, size, (from, to), &out, arena)?;
        let taps = conv.kernel[0] * conv.kernel[1];
        let macs = out.numel() as u64 * (conv.inputs / conv.groups * taps) as u64;
        Ok(Outcome::Done(out, macs))
    }

    pub(super) fn linear(
        &self,
        linear: Linear,
        inputs: &[Value],
        arena: &mut Arena,
    ) -> Result<Outcome, RunError> {
        let (Some((x, from)), Some(to)) = (codes(inputs, 0), Scaling::among(inputs, 2)) else {
            return Ok(Outcome::NotTaken(NOT_NUMBERS));
        };
        let Some((features, rows)) = x.shape().split_last() else {
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
        let strides = contiguous_strides(&shape);
        let out = output(
            arena,
            self.buffer,
            DType::QUInt8,
            &shape,
            &strides,
            Some(to),
        )?;
        let x = Readable {
            tensor: x.contiguous(MemoryFormat::Contiguous)?,
            relayout: None,
        };
        self.weighted(&x, [1, 1, count], (from, to), &out, arena)?;
        let macs = out.numel() as u64 * linear.inputs as u64;
        Ok(Outcome::Done(out, macs))
    }

    /// Images in channels-last order, or on their way there; `order` lists the dimensions with the channels last.
    fn readable(
        &self,
        x: &Tensor,
        image: [usize; 4],
        order: &[usize],
    ) -> Result<Readable<'_>, RunError> {
        let last = x.permute(order)?;
        if !last.is_contiguous()
            && x.is_contiguous()
            && let Some(relayout) = &self.to_nhwc
        {
            return Ok(Readable {
                tensor: x.clone(),
                relayout: Some((relayout, image)),
            });
        }
        Ok(Readable {
            tensor: last.contiguous(MemoryFormat::Contiguous)?,
            relayout: None,
        })
    }

    fn weighted(
        &self,
        x: &Readable<'_>,
        size: [usize; 3],
        (from, to): (Scaling, Scaling),
        out: &Tensor,
        arena: &mut Arena,
    ) -> Result<(), RunError> {
        let weight = self
            .weight
            .as_ref()
            .ok_or(RunError::Weight("it was not packed"))?;
        let epilogue = self.epilogue(weight, from.affine().scale, to.affine().scale)?;
        let codes = output_codes(to, self.variant.relu);
        let frame = self.entry.kernel().scratch_len([size[1], size[2]]);
        let room = x.relayout.map_or(0, |_| x.tensor.numel());
        let (image, scratch) = arena.scratch(room, frame);
        with_bytes(&x.tensor, out, |bytes, out| {
            let bytes = match x.relayout {
                Some((relayout, size)) => {
                    relayout.call(Call::Relayout {
                        x: bytes,
                        size,
                        out: image,
                    })?;
                    &*image
                }
                None => bytes,
            };
            self.entry.call(Call::Weighted {
                x: bytes,
                size,
                zero: from.zero_point as u8,
                weights: &weight.packed,
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
            Some(QParams::PerChannelFloat { .. }) | None => {
                return Err(RunError::Weight("its weight has no scale"));
            }
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
pub(super) fn output_codes(scaling: Scaling, relu: bool) -> Codes {
    let codes = Codes::u8(scaling.affine().zero);
    if relu { codes.relu() } else { codes }
}
