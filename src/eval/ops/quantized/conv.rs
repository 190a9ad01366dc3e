//! Quantized convolutions.

use planish_ir::{ConvGeometry, DType, PackedKind, PackedParams};

use super::stage::{BiasStep, Stage, WeightParams, twice_inverted};
use crate::call::Call;
use crate::ops::conv::{Plan, spatial, weight_rows};
use crate::ops::quant::{self, chosen, empty, per_tensor};
use crate::ops::window::{batched, channels_to_end, unbatched};
use crate::ops::{Kernel, Table};
use crate::{Contract, Error, Result, Tensor, Value};
use Kernel::One;

pub(in crate::ops) const OPS: Table = &[
    ("quantized::conv1d", One(conv)),
    ("quantized::conv1d_relu", One(conv)),
    ("quantized::conv2d", One(conv)),
    ("quantized::conv2d_relu", One(conv)),
    ("quantized::conv2d_add", One(conv_add)),
    ("quantized::conv2d_add_relu", One(conv_add)),
    ("quantized::conv3d", One(conv)),
    ("quantized::conv3d_relu", One(conv)),
    ("quantized::conv_transpose1d", One(conv)),
    ("quantized::conv_transpose2d", One(conv)),
    ("quantized::conv_transpose3d", One(conv)),
    ("quantized::conv1d_dynamic", One(conv_dynamic)),
    ("quantized::conv2d_dynamic", One(conv_dynamic)),
    ("quantized::conv3d_dynamic", One(conv_dynamic)),
    ("quantized::conv_transpose1d_dynamic", One(conv_dynamic)),
    ("quantized::conv_transpose2d_dynamic", One(conv_dynamic)),
    ("quantized::conv_transpose3d_dynamic", One(conv_dynamic)),
];

/// `conv2d(input, packed, scale, zero_point)`
fn conv(call: &Call<'_>) -> Result<Value> {
    // The oldest form repeats the geometry between weight and scale.
    let first = if call.args.len() > 4 {
        call.args.len() - 2
    } else {
        2
    };
    let qparams = quant::qparams(call, first)?;
    Ok(convolved(call, call.tensor(0)?, 1, qparams, None)?.into())
}

/// `conv2d_add(input, accumulated, packed, scale, zero_point)`: what is added was quantized before.
fn conv_add(call: &Call<'_>) -> Result<Value> {
    if call.contract != Contract::Onednn {
        return Err(call.unsupported("under another contract than onednn"));
    }
    let qparams = quant::qparams(call, 3)?;
    let more = call.tensor(1)?;
    Ok(convolved(call, call.tensor(0)?, 2, qparams, Some(more))?.into())
}

/// `conv2d_dynamic(input, packed, reduce_range)`: floats in and out. PyTorch has no kernel that ends in floats: codes with the input's
/// parameters stand in between, and what they cannot hold is cut off.
fn conv_dynamic(call: &Call<'_>) -> Result<Value> {
    let input = call.tensor(0)?;
    let reduced = call.bool_or(2, false)? && call.contract != Contract::Qnnpack;
    let (scale, zero_point) = chosen(&input.to_f32()?, reduced);
    let codes = quant::quantized(input, scale, zero_point, DType::QUInt8)?;
    let result = convolved(call, &codes, 1, (scale, zero_point), None)?;
    let floats = quant::dequantized(&result)?;
    Ok(floats.copy_strided(&last_strides(result.shape()))?.into())
}

/// The convolution of codes with the packed weight at `place`; `more` is added to it. PyTorch's kernels ask for a batch, the simulation does
/// not: what is fused takes one image too.
fn convolved(
    call: &Call<'_>,
    input: &Tensor,
    place: usize,
    (scale, zero_point): (f64, i64),
    more: Option<&Tensor>,
) -> Result<Tensor> {
    let packed = call.packed(place)?;
    let (input, had_batch) = &batched(input, spatial(call))?;
    let sums = Sums::new(call, input, packed)?;
    let step = if is_fast_depthwise(packed, sums.geometry, input) {
        BiasStep::Rounded
    } else {
        BiasStep::Fused
    };
    let channels = sums.plan.channels();
    let out = (scale, zero_point);
    let stage = Stage::new(call, input, packed, &sums.params, channels, out, step)?;
    let shape = sums.plan.shape();
    let strides = last_strides(&shape);
    let result = empty(input.dtype(), &shape, &strides, scale, zero_point)?;
    let mut codes = Vec::with_capacity(result.numel());
    if let Some(more) = more {
        let (more_scale, more_zero) = per_tensor(more)?;
        if more.shape() != &shape[..] {
            return Err(call.wrong(1, "a tensor of the result's shape"));
        }
        let factor = twice_inverted(more_scale);
        let terms = centred(&more.permute(&channels_to_end(shape.len()))?, more_zero)?;
        let mut terms = terms.into_iter();
        sums.run(|channel, sum| {
            let term = f32::from(terms.next().unwrap_or(0));
            let value = term.mul_add(factor, stage.value(channel, sum));
            codes.push(stage.quantized(channel, value));
        })?;
    } else {
        sums.run(|channel, sum| codes.push(stage.code(channel, sum)))?;
    }
    result
        .permute(&channels_to_end(shape.len()))?
        .write_codes(&codes)?;
    unbatched(sums.narrowed(&result)?, *had_batch)
}

/// Strides that put the channels innermost, for any number of spatial dimensions.
fn last_strides(shape: &[i64]) -> planish_ir::Dims {
    planish_ir::channels_last_strides(shape)
}

/// The sums of products of codes less their zero points.
struct Sums<'a> {
    plan: Plan,
    geometry: &'a ConvGeometry,
    params: WeightParams,
    input: Vec<i16>,
    weight: Vec<i16>,
    widened: bool,
}

impl<'a> Sums<'a> {
    fn new(call: &Call<'_>, input: &Tensor, packed: &'a PackedParams) -> Result<Self> {
        let PackedKind::Conv(geometry) = &packed.kind else {
            return Err(call.wrong(1, "the packed weight of a convolution"));
        };
        let transposed = call.short_name().starts_with("conv_transpose");
        let packed_spatial = geometry.stride.len();
        // One spatial dimension may be packed as two, with height 1.
        let widen = spatial(call) == 1 && packed_spatial == 2;
        if geometry.transposed != transposed || (packed_spatial != spatial(call) && !widen) {
            return Err(call.wrong(1, "a packed weight of this kind of convolution"));
        }
        let input = &if widen {
            input.unsqueeze(2)?
        } else {
            input.clone()
        };
        let weight = Tensor::from(&packed.weight);
        let (_, zero) = per_tensor(input)?;
        let plan = Plan::new(input.shape(), weight.shape(), geometry)?;
        call.work(plan.products())?;
        let params = WeightParams::of(packed, plan.channels())?;
        let x = input.permute(&channels_to_end(input.rank()))?;
        let rows = weight_rows(&weight, geometry)?.codes()?;
        let depth = (rows.len() / plan.channels().max(1)).max(1);
        let weight = rows
            .iter()
            .enumerate()
            .map(|(at, q)| (q - params.zero(at / depth)) as i16);
        Ok(Self {
            weight: weight.collect(),
            input: centred(&x, zero)?,
            plan,
            geometry,
            params,
            widened: widen,
        })
    }

    /// The result of one spatial dimension without the height that was added.
    fn narrowed(&self, result: &Tensor) -> Result<Tensor> {
        result.squeeze(|dim| self.widened && dim == 2)
    }

    fn run(&self, emit: impl FnMut(usize, i32)) -> Result<()> {
        self.plan.run(&self.input, &self.weight, emit)
    }
}

/// Codes less their zero point; those of a type of one byte fit in 16 bits.
pub(super) fn centred(tensor: &Tensor, zero: i64) -> Result<Vec<i16>> {
    if tensor.dtype().size() != 1 {
        return Err(Error::Unsupported(format!(
            "products of codes of type {}",
            tensor.dtype()
        )));
    }
    check_zero(zero)?;
    let codes = tensor.codes()?;
    Ok(codes
        .iter()
        .map(|q| (i64::from(*q) - zero) as i16)
        .collect())
}

/// Fails when codes of one byte less this zero point do not fit in 16 bits.
pub(super) fn check_zero(zero: i64) -> Result<()> {
    if (-255..=255).contains(&zero) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "the zero point {zero} is not among the codes"
    )))
}

/// Whether FBGEMM has a depthwise kernel for this: it adds the bias in two roundings.
fn is_fast_depthwise(packed: &PackedParams, geometry: &ConvGeometry, input: &Tensor) -> bool {
    let (groups, weight) = (geometry.groups, packed.weight.shape());
    let kernel = &weight[2..];
    let sizes: &[i64] = match kernel.len() {
        2 => &[3, 5, 7],
        3 => &[3, 5],
        _ => return false,
    };
    let side = kernel[0];
    !geometry.transposed
        && groups == input.shape()[1]
        && groups % 8 == 0
        && (weight[0] == groups || weight[0] == 2 * groups)
        && kernel.iter().all(|size| *size == side)
        && sizes.contains(&side)
        && geometry.padding.iter().all(|p| *p == (side - 1) / 2)
        && geometry.stride.iter().all(|s| matches!(s, 1 | 2))
        && geometry.dilation.iter().all(|d| *d == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryFormat;

    #[test]
    fn one_dimension_puts_its_channels_last_too() {
        assert_eq!(last_strides(&[2, 3, 5]).as_slice(), [15, 1, 3]);
        assert_eq!(
            last_strides(&[2, 3, 4, 5])[..],
            MemoryFormat::ChannelsLast.strides(&[2, 3, 4, 5])[..]
        );
    }
}
