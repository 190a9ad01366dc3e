//! Enlarging images and signals.

use planish_ir::Dims;

use super::conv::spatial;
use super::quant::{Affine, dequantized, empty, per_tensor};
use super::window::{narrowed, widened};
use super::{Kernel, Table, cubic};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::upsample_nearest1d", One(nearest)),
    ("aten::upsample_nearest2d", One(nearest)),
    ("aten::upsample_nearest3d", One(nearest)),
    ("aten::_upsample_nearest_exact1d", One(nearest)),
    ("aten::_upsample_nearest_exact2d", One(nearest)),
    ("aten::_upsample_nearest_exact3d", One(nearest)),
    ("aten::upsample_linear1d", One(linear)),
    ("aten::upsample_bilinear2d", One(linear)),
    ("aten::upsample_trilinear3d", One(linear)),
    ("aten::upsample_bicubic2d", One(bicubic)),
];

/// What to make of an input: sizes of the result, and the factor along each dimension where one was given.
struct Target {
    input: Tensor,
    sizes: [i64; 3],
    output: [i64; 3],
    factors: [Option<f64>; 3],
    spatial: usize,
}

impl Target {
    /// The arguments from `first` on are single factors, or a list of them (`vec` overloads).
    fn new(call: &Call<'_>, first: usize) -> Result<Self> {
        let input = call.tensor(0)?;
        let spatial = spatial(call);
        if input.rank() != spatial + 2 || input.numel() == 0 {
            return Err(call.wrong(0, "a batch of images or signals"));
        }
        let given: Vec<Option<f64>> = match call.get(first) {
            Value::List(_) => {
                let factors = call.floats_opt(first)?.unwrap_or_default();
                factors.into_iter().map(Some).collect()
            }
            _ => (first..first + spatial)
                .map(|at| call.float_opt(at))
                .collect::<Result<_>>()?,
        };
        if given.len() != spatial {
            return Err(call.wrong(first, "one factor for each dimension"));
        }
        let sizes = &input.shape()[2..];
        let output = match call.ints_opt(1)? {
            Some(output) if output.len() == spatial => output,
            Some(output) if output.len() == 1 => vec![output[0]; spatial],
            Some(_) => return Err(call.wrong(1, "one size for each dimension")),
            None => {
                let scaled = sizes.iter().zip(&given);
                let scaled = scaled.map(|(size, factor)| Some((*size as f64 * (*factor)?) as i64));
                let scaled: Option<Vec<i64>> = scaled.collect();
                scaled.ok_or_else(|| call.wrong(1, "sizes or factors"))?
            }
        };
        if output.iter().any(|size| *size < 1) {
            return Err(call.wrong(1, "positive sizes"));
        }
        let mut factors = [None; 3];
        factors[3 - spatial..].copy_from_slice(&given);
        let target = Self {
            sizes: widened(sizes, 1),
            output: widened(&output, 1),
            factors: factors.map(|f| f.filter(|f| *f > 0.0)),
            input: input.clone(),
            spatial,
        };
        let planes = (input.shape()[0] * input.shape()[1]) as u64;
        let pixels = target
            .output
            .iter()
            .fold(planes, |n, size| n.saturating_mul(*size as u64));
        call.work(pixels)?;
        Ok(target)
    }

    fn result(&self) -> Result<Tensor> {
        let mut shape = Dims::from_slice(&self.input.shape()[..2]);
        shape.extend(narrowed(self.output, self.spatial));
        let strides = self.input.memory_format().strides(&shape);
        let dtype = self.input.dtype();
        if dtype.is_quantized() {
            let (scale, zero_point) = per_tensor(&self.input)?;
            return empty(dtype, &shape, &strides, scale, zero_point);
        }
        Tensor::zeros_strided(dtype, &shape, &strides)
    }

    fn cells(&self) -> usize {
        self.sizes.iter().product::<i64>() as usize
    }

    /// Input steps for each output step.
    fn step(&self, d: usize) -> f32 {
        match self.factors[d] {
            Some(factor) => (1.0 / factor) as f32,
            None => self.sizes[d] as f32 / self.output[d] as f32,
        }
    }

    /// The same where the corners may have to lie on the corners.
    fn scale(&self, d: usize, corners: bool) -> f32 {
        match corners {
            true if self.output[d] > 1 => (self.sizes[d] - 1) as f32 / (self.output[d] - 1) as f32,
            true => 0.0,
            false => self.step(d),
        }
    }
}

/// `upsample_nearest2d(input, output_size, scales…)`
fn nearest(call: &Call<'_>) -> Result<Value> {
    let target = Target::new(call, 2)?;
    let out = target.result()?;
    // The exact form asks for the pixel that holds the middle of the new one.
    let middle = if call.short_name().contains("exact") {
        0.5
    } else {
        0.0
    };
    let places = [0, 1, 2].map(|d| {
        let (step, last) = (target.step(d), target.sizes[d] - 1);
        let place = |o: i64| (((o as f32 + middle) * step).floor() as i64).min(last) as usize;
        (0..target.output[d]).map(place).collect::<Vec<_>>()
    });
    let [_, high, wide] = target.sizes.map(|size| size as usize);
    let mut cells = Vec::with_capacity(places.iter().map(Vec::len).product());
    for d in &places[0] {
        for h in &places[1] {
            cells.extend(places[2].iter().map(|w| (d * high + h) * wide + w));
        }
    }
    fn pick<T: crate::Raw>(target: &Target, out: &Tensor, cells: &[usize]) -> Result<()> {
        let values = target.input.elements::<T>()?;
        let planes = values.chunks_exact(target.cells());
        let picked: Vec<T> = planes
            .flat_map(|plane| cells.iter().map(|at| plane[*at]))
            .collect();
        out.write_elements(&picked)
    }
    match out.dtype().size() {
        1 => pick::<u8>(&target, &out, &cells),
        2 => pick::<u16>(&target, &out, &cells),
        4 => pick::<u32>(&target, &out, &cells),
        _ => pick::<u64>(&target, &out, &cells),
    }?;
    Ok(out.into())
}

/// Where an output lies between two inputs.
#[derive(Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    /// Weights of the lower and of the higher one.
    weights: [f32; 2],
}

/// The position of each output of a dimension; `fused` rounds the position once.
fn positions(target: &Target, d: usize, corners: bool, fused: bool) -> Vec<Between> {
    let (size, output) = (target.sizes[d], target.output[d]);
    let step = target.scale(d, corners);
    let position = |o: i64| {
        let o = o as f32;
        match (corners, fused) {
            (true, _) => o * step,
            (false, true) => (o + 0.5).mul_add(step, -0.5).max(0.0),
            (false, false) => ((o + 0.5) * step - 0.5).max(0.0),
        }
    };
    (0..output)
        .map(|o| {
            if size == output {
                let at = o as usize;
                return Between {
                    low: at,
                    high: at,
                    weights: [1.0, 0.0],
                };
            }
            let position = position(o);
            let low = (position.floor() as i64).min(size - 1);
            let share = (position - low as f32).clamp(0.0, 1.0);
            Between {
                low: low as usize,
                high: (low + 1).min(size - 1) as usize,
                weights: [1.0 - share, share],
            }
        })
        .collect()
}

/// `upsample_bilinear2d(input, output_size, align_corners, scales…)`, and with one and three dimensions
fn linear(call: &Call<'_>) -> Result<Value> {
    let target = Target::new(call, 3)?;
    let corners = call.bool_or(2, false)?;
    let quantized = target.input.dtype().is_quantized();
    if quantized && target.spatial == 2 {
        return blend_codes(&target, corners);
    }
    let out = target.result()?;
    let values = if quantized {
        // PyTorch has no kernel for codes here: real numbers are blended, and quantized as they were.
        dequantized(&target.input)?.to_f32()?
    } else {
        target.input.to_f32()?
    };
    let blended = if target.spatial == 2 {
        blend_image(&target, &values, corners, weigh_vector, weigh_single)
    } else {
        blend_lines(&target, &values, corners, |[low, high], a, b| {
            low.mul_add(a, high * b)
        })
    };
    if quantized {
        let affine = Affine::of(&target.input)?;
        let codes: Vec<i32> = blended.into_iter().map(|x| affine.quantize(x)).collect();
        out.write_codes(&codes)?;
    } else {
        out.write_f32(&blended)?;
    }
    Ok(out.into())
}

/// `upsample_bicubic2d(input, output_size, align_corners, scales…)`
fn bicubic(call: &Call<'_>) -> Result<Value> {
    let target = Target::new(call, 3)?;
    if !target.input.dtype().is_floating_point() {
        return Err(call.wrong(0, "floats"));
    }
    let corners = call.bool_or(2, false)?;
    // The second of the four neighbours, which may lie before the first pixel, and the weights.
    let places = |d: usize| -> Vec<(i64, [f32; 4])> {
        let step = target.scale(d, corners);
        let place = |o: i64| {
            if target.sizes[d] == target.output[d] {
                return (o, cubic::weights(0.0));
            }
            let place = if corners {
                o as f32 * step
            } else {
                (o as f32 + 0.5) * step - 0.5
            };
            let low = place.floor();
            (low as i64, cubic::weights((place - low).clamp(0.0, 1.0)))
        };
        (0..target.output[d]).map(place).collect()
    };
    let (high, wide) = (places(1), places(2));
    let [_, rows, columns] = target.sizes;
    let near = |low: i64, at: usize, size: i64| {
        low.saturating_add(at as i64 - 1).clamp(0, size - 1) as usize
    };
    let out = target.result()?;
    let mut values = Vec::with_capacity(out.numel());
    for plane in target.input.to_f32()?.chunks_exact(target.cells()) {
        for (h, down) in &high {
            for (w, along) in &wide {
                values.push(cubic::between(*down, |i| {
                    let row = near(*h, i, rows) * columns as usize;
                    cubic::between(*along, |j| plane[row + near(*w, j, columns)])
                }));
            }
        }
    }
    out.write_f32(&values)?;
    Ok(out.into())
}

/// Blends two values with two weights.
type Mix = fn([f32; 2], f32, f32) -> f32;

/// Blends along the last dimension, then along the one before.
fn blend_lines(target: &Target, values: &[f32], corners: bool, blend: Mix) -> Vec<f32> {
    let [deep, high, wide] = [0, 1, 2].map(|d| positions(target, d, corners, false));
    let [_, rows, columns] = target.sizes.map(|size| size as usize);
    let mut blended = Vec::new();
    for plane in values.chunks_exact(target.cells()) {
        let at = |d: usize, h: usize, w: usize| plane[(d * rows + h) * columns + w];
        for d in &deep {
            for h in &high {
                for w in &wide {
                    let line = |d, h| mix(blend, w, |w| at(d, h, w));
                    let sheet = |d| mix(blend, h, |h| line(d, h));
                    blended.push(mix(blend, d, sheet));
                }
            }
        }
    }
    blended
}

fn mix(blend: Mix, between: &Between, value: impl Fn(usize) -> f32) -> f32 {
    if between.weights[1] == 0.0 {
        return value(between.low);
    }
    blend(between.weights, value(between.low), value(between.high))
}

/// The layout decides in which order the products of codes and weights are added.
fn blend_codes(target: &Target, corners: bool) -> Result<Value> {
    let input = &target.input;
    if target.sizes == target.output {
        return Ok(input.copied(Some(input.memory_format()))?.into());
    }
    let affine = Affine::of(input)?;
    let zero = affine.zero as f32;
    let out = target.result()?;
    let values: Vec<f32> = input.codes()?.into_iter().map(|q| q as f32).collect();
    let blended = if input.memory_format() == MemoryFormat::ChannelsLast {
        blend_image(target, &values, corners, blend_vector, blend_scalar)
    } else {
        blend_lines(target, &values, corners, |[low, high], a, b| {
            low * a + high * b
        })
    };
    let codes: Vec<i32> = blended
        .iter()
        .map(|value| affine.code(value - zero))
        .collect();
    out.write_codes(&codes)?;
    Ok(out.into())
}

/// Blends the four corners around a place by their weights along height and width.
type Blend = fn([f32; 4], [f32; 2], [f32; 2]) -> f32;

/// Two dimensions at once: eight channels at a time in one order, the others in another.
fn blend_image(
    target: &Target,
    values: &[f32],
    corners: bool,
    vector: Blend,
    single: Blend,
) -> Vec<f32> {
    let (high, wide) = (
        positions(target, 1, corners, true),
        positions(target, 2, corners, true),
    );
    let columns = target.sizes[2] as usize;
    let channels = target.input.shape()[1] as usize;
    let mut blended = Vec::new();
    for (index, plane) in values.chunks_exact(target.cells()).enumerate() {
        let whole = index % channels < channels / 8 * 8;
        let order = if whole { vector } else { single };
        for h in &high {
            for w in &wide {
                let at = |h: usize, w: usize| plane[h * columns + w];
                let corners = [
                    at(h.low, w.low),
                    at(h.low, w.high),
                    at(h.high, w.low),
                    at(h.high, w.high),
                ];
                blended.push(order(corners, h.weights, w.weights));
            }
        }
    }
    blended
}

fn blend_vector([a, b, c, d]: [f32; 4], [h0, h1]: [f32; 2], [w0, w1]: [f32; 2]) -> f32 {
    let (upper, lower) = (w1.mul_add(b, w0 * a), w1.mul_add(d, w0 * c));
    h1.mul_add(lower, h0 * upper)
}

fn blend_scalar([a, b, c, d]: [f32; 4], [h0, h1]: [f32; 2], [w0, w1]: [f32; 2]) -> f32 {
    let (upper, lower) = (w0.mul_add(a, w1 * b), w0.mul_add(c, w1 * d));
    h0.mul_add(upper, h1 * lower)
}

/// Floats have one weight for each corner.
fn weigh_vector([a, b, c, d]: [f32; 4], [h0, h1]: [f32; 2], [w0, w1]: [f32; 2]) -> f32 {
    let sum = (h1 * w1).mul_add(d, h1 * w0 * c);
    (h0 * w0).mul_add(a, (h0 * w1).mul_add(b, sum))
}

fn weigh_single([a, b, c, d]: [f32; 4], [h0, h1]: [f32; 2], [w0, w1]: [f32; 2]) -> f32 {
    let sum = (h0 * w0).mul_add(a, h0 * w1 * b);
    (h1 * w1).mul_add(d, (h1 * w0).mul_add(c, sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Vec<f32> {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0);
        out.as_tensor().unwrap().to_f32().unwrap()
    }

    #[test]
    fn signals_are_repeated_or_blended() {
        let x = Value::from(Tensor::from_values(&[1, 1, 2], &[0f32, 4.]).unwrap());
        let size = Value::ints(&[4]);
        assert_eq!(
            run(
                "aten::upsample_nearest1d",
                &[x.clone(), size.clone(), Value::None]
            ),
            [0., 0., 4., 4.]
        );
        let half = [x.clone(), size.clone(), false.into(), Value::None];
        assert_eq!(run("aten::upsample_linear1d", &half), [0., 1., 3., 4.]);
        let factors = Value::list(planish_ir::Type::Float, [Value::Float(2.0)]);
        assert_eq!(
            run("aten::upsample_nearest1d.vec", &[x, Value::None, factors]),
            [0., 0., 4., 4.]
        );
    }
}
