//! Pools over one to three spatial dimensions, of floats and of codes.

use planish_ir::{DType, Dims, channels_last_strides};

use super::conv::spatial;
use super::quant::{Affine, empty, per_tensor};
use super::reduce::sums_over;
use super::window::{batched, narrowed, pool_size, unbatched, widened};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::max_pool1d", One(max_pool)),
    ("aten::max_pool2d", One(max_pool)),
    ("aten::max_pool3d", One(max_pool)),
    ("aten::max_pool1d_with_indices", Many(max_pool_with_indices)),
    ("aten::max_pool2d_with_indices", Many(max_pool_with_indices)),
    ("aten::max_pool3d_with_indices", Many(max_pool_with_indices)),
    ("quantized::max_pool1d", One(max_pool)),
    ("quantized::max_pool2d", One(max_pool)),
    ("aten::avg_pool1d", One(avg_pool)),
    ("aten::avg_pool2d", One(avg_pool)),
    ("aten::avg_pool3d", One(avg_pool)),
    ("aten::adaptive_avg_pool1d", One(adaptive_avg_pool)),
    ("aten::adaptive_avg_pool2d", One(adaptive_avg_pool)),
    ("aten::adaptive_avg_pool3d", One(adaptive_avg_pool)),
    ("aten::adaptive_max_pool1d", Many(adaptive_max_pool)),
    ("aten::adaptive_max_pool2d", Many(adaptive_max_pool)),
    ("aten::adaptive_max_pool3d", Many(adaptive_max_pool)),
];

/// A window: for each dimension where it starts and ends inside the input, and how many cells it covers of the padded input.
#[derive(Clone, Copy, Debug)]
struct Window {
    start: [i64; 3],
    end: [i64; 3],
    step: [i64; 3],
    padded: i64,
}

/// All windows of a pool, in order, with the sizes of the input and of the result.
struct Windows {
    input: [i64; 3],
    output: [i64; 3],
    all: Vec<Window>,
}

impl Windows {
    /// Windows of a fixed size.
    fn fixed(
        input: [i64; 3],
        kernel: [i64; 3],
        stride: [i64; 3],
        padding: [i64; 3],
        dilation: [i64; 3],
        ceil: bool,
    ) -> Result<Self> {
        let mut output = [0; 3];
        for d in 0..3 {
            output[d] = pool_size(
                input[d],
                kernel[d],
                stride[d],
                padding[d],
                dilation[d],
                ceil,
            )?;
        }
        Self::build(input, output, |at| {
            let mut window = Window {
                start: [0; 3],
                end: [0; 3],
                step: dilation,
                padded: 1,
            };
            for d in 0..3 {
                let start = at[d] * stride[d] - padding[d];
                let end = (start + (kernel[d] - 1) * dilation[d] + 1).min(input[d] + padding[d]);
                window.padded *= end - start;
                // The first cell inside, in steps of the dilation.
                let skipped = (-start).max(0).div_ceil_by(dilation[d]);
                window.start[d] = start + skipped * dilation[d];
                window.end[d] = end.min(input[d]);
            }
            window
        })
    }

    /// Windows that cut the input into a given number of parts, which may overlap by one cell.
    fn adaptive(input: [i64; 3], output: [i64; 3]) -> Result<Self> {
        Self::build(input, output, |at| {
            let start = [0, 1, 2].map(|d| at[d] * input[d] / output[d]);
            let end = [0, 1, 2].map(|d| ((at[d] + 1) * input[d]).div_ceil_by(output[d]));
            Window {
                start,
                end,
                step: [1; 3],
                padded: (0..3).map(|d| end[d] - start[d]).product(),
            }
        })
    }

    fn build(
        input: [i64; 3],
        output: [i64; 3],
        window: impl Fn([i64; 3]) -> Window,
    ) -> Result<Self> {
        let count = output.iter().fold(1i64, |n, size| n.saturating_mul(*size));
        crate::limits::room(
            usize::try_from(count).unwrap_or(usize::MAX),
            size_of::<Window>(),
        )?;
        let mut all = Vec::with_capacity(count as usize);
        for d in 0..output[0] {
            for h in 0..output[1] {
                for w in 0..output[2] {
                    all.push(window([d, h, w]));
                }
            }
        }
        Ok(Self { input, output, all })
    }

    fn cells(&self) -> u64 {
        self.all.iter().map(|w| w.count().max(0) as u64).sum()
    }
}

impl Window {
    /// Cells inside the input.
    fn count(&self) -> i64 {
        let along = |d: usize| {
            (self.end[d] - self.start[d])
                .max(0)
                .div_ceil_by(self.step[d])
        };
        along(0) * along(1) * along(2)
    }

    /// Calls `visit` with the index of each cell inside the input.
    fn each(&self, input: [i64; 3], mut visit: impl FnMut(usize)) {
        let along = |d: usize| (self.start[d]..self.end[d]).step_by(self.step[d] as usize);
        for d in along(0) {
            for h in along(1) {
                for w in along(2) {
                    visit(((d * input[1] + h) * input[2] + w) as usize);
                }
            }
        }
    }
}

trait DivCeil {
    /// The quotient of natural numbers, rounded up.
    fn div_ceil_by(self, by: i64) -> i64;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: i64) -> i64 {
        (self + by - 1) / by
    }
}

/// A pool's input with a batch dimension, its planes, and how to make the result.
struct Planes {
    input: Tensor,
    had_batch: bool,
    sizes: [i64; 3],
    spatial: usize,
}

impl Planes {
    fn new(call: &Call<'_>) -> Result<Self> {
        let spatial = spatial(call);
        let (input, had_batch) = batched(call.tensor(0)?, spatial)?;
        Ok(Self {
            sizes: widened(&input.shape()[2..], 1),
            input,
            had_batch,
            spatial,
        })
    }

    /// Elements of one plane.
    fn cells(&self) -> usize {
        self.sizes.iter().product::<i64>() as usize
    }

    /// Number of planes.
    fn count(&self) -> usize {
        (self.input.shape()[0] * self.input.shape()[1]) as usize
    }

    /// The layout that decides how means of codes are rounded. PyTorch pools lines as images of one row, so that what a quantized
    /// convolution over a line makes has its channels last.
    fn format(&self) -> Result<MemoryFormat> {
        if self.spatial == 1 {
            return Ok(self.input.unsqueeze(2)?.memory_format());
        }
        Ok(self.input.memory_format())
    }

    fn shape(&self, output: [i64; 3]) -> Dims {
        let mut shape = Dims::from_slice(&self.input.shape()[..2]);
        shape.extend(narrowed(output, self.spatial));
        shape
    }

    /// An empty result: quantized like the input when that is quantized.
    fn result(&self, output: [i64; 3], format: MemoryFormat) -> Result<Tensor> {
        let shape = self.shape(output);
        let dtype = self.input.dtype();
        let strides = if self.spatial == 1 && format == MemoryFormat::ChannelsLast {
            channels_last_strides(&shape)
        } else {
            format.strides(&shape)
        };
        if dtype.is_quantized() {
            let (scale, zero_point) = per_tensor(&self.input)?;
            return empty(dtype, &shape, &strides, scale, zero_point);
        }
        Tensor::zeros_strided(dtype, &shape, &strides)
    }
}

/// `max_pool2d(input, kernel, stride, padding, dilation, ceil_mode)`
fn max_pool(call: &Call<'_>) -> Result<Value> {
    Ok(max_pooled(call, &Planes::new(call)?)?.0.into())
}

/// The same, with the place of each value in its plane.
fn max_pool_with_indices(call: &Call<'_>) -> Result<Vec<Value>> {
    let planes = Planes::new(call)?;
    if planes.input.dtype().is_quantized() {
        return Err(call.wrong(0, "plain numbers"));
    }
    with_places(max_pooled(call, &planes)?)
}

fn max_pooled(call: &Call<'_>, planes: &Planes) -> Result<(Tensor, Vec<i64>)> {
    let n = planes.spatial;
    let kernel = call.ints_for(1, n, 1)?;
    let stride = strides_or(call, 2, &kernel)?;
    let windows = Windows::fixed(
        planes.sizes,
        widened(&kernel, 1),
        widened(&stride, 1),
        widened(&call.ints_for(3, n, 0)?, 0),
        widened(&call.ints_for(4, n, 1)?, 1),
        call.bool_or(5, false)?,
    )?;
    call.work(windows.cells().saturating_mul(planes.count() as u64))?;
    largest(planes, &windows)
}

/// The largest element of each window and its index in the plane.
fn largest(planes: &Planes, windows: &Windows) -> Result<(Tensor, Vec<i64>)> {
    let input = &planes.input;
    let format = if input.dtype().is_quantized() {
        planes.format()?
    } else {
        input.memory_format()
    };
    let out = planes.result(windows.output, format)?;
    let mut indices = Vec::with_capacity(out.numel());
    if input.dtype().is_floating_point() {
        let values = input.to_f64()?;
        let mut best_values = Vec::with_capacity(out.numel());
        for plane in values.chunks_exact(planes.cells().max(1)) {
            for window in &windows.all {
                let (mut best, mut at) = (f64::NEG_INFINITY, 0);
                window.each(windows.input, |cell| {
                    if plane[cell] > best || plane[cell].is_nan() {
                        (best, at) = (plane[cell], cell);
                    }
                });
                best_values.push(best);
                indices.push(at as i64);
            }
        }
        out.write_f64(&best_values)?;
    } else {
        let quantized = input.dtype().is_quantized();
        let values: Vec<i64> = if quantized {
            input.codes()?.into_iter().map(i64::from).collect()
        } else {
            input.to_i64()?
        };
        let mut best_values = Vec::with_capacity(out.numel());
        for plane in values.chunks_exact(planes.cells().max(1)) {
            for window in &windows.all {
                let (mut best, mut at) = (None, 0);
                window.each(windows.input, |cell| {
                    if best.is_none_or(|best| plane[cell] > best) {
                        (best, at) = (Some(plane[cell]), cell);
                    }
                });
                let least = input
                    .dtype()
                    .quantized_range()
                    .map_or(i64::MIN, |(low, _)| low);
                best_values.push(best.unwrap_or(least));
                indices.push(at as i64);
            }
        }
        if quantized {
            let codes: Vec<i32> = best_values.iter().map(|q| *q as i32).collect();
            out.write_codes(&codes)?;
        } else {
            out.write_i64(&best_values)?;
        }
    }
    Ok((unbatched(out, planes.had_batch)?, indices))
}

/// The stride, which is the kernel when it is not given.
fn strides_or(call: &Call<'_>, index: usize, kernel: &[i64]) -> Result<Vec<i64>> {
    match call.ints_opt(index)? {
        Some(stride) if !stride.is_empty() => call.ints_for(index, kernel.len(), 1),
        _ => Ok(kernel.to_vec()),
    }
}

/// `avg_pool2d(input, kernel, stride, padding, ceil_mode, count_include_pad, divisor)`
fn avg_pool(call: &Call<'_>) -> Result<Value> {
    let planes = Planes::new(call)?;
    let n = planes.spatial;
    let kernel = call.ints_for(1, n, 1)?;
    let stride = strides_or(call, 2, &kernel)?;
    let windows = Windows::fixed(
        planes.sizes,
        widened(&kernel, 1),
        widened(&stride, 1),
        widened(&call.ints_for(3, n, 0)?, 0),
        [1; 3],
        call.bool_or(4, false)?,
    )?;
    call.work(windows.cells().saturating_mul(planes.count() as u64))?;
    let with_padding = call.bool_or(5, true)?;
    let given = call.int_opt(6)?;
    if given == Some(0) {
        return Err(call.wrong(6, "a divisor other than 0"));
    }
    let divisor = |window: &Window| match given {
        Some(divisor) => divisor,
        None if with_padding => window.padded,
        None => window.count(),
    };
    if !planes.input.dtype().is_quantized() {
        // PyTorch's kernel for three dimensions knows one layout only.
        let format = if n == 3 {
            MemoryFormat::Contiguous
        } else {
            planes.input.memory_format()
        };
        return averaged(&planes, &windows, format, |_, sum, window| {
            sum / divisor(window) as f32
        });
    }
    // In channels-last order, and always in three dimensions, the zero point is added after rounding.
    let format = if n == 3 {
        MemoryFormat::ChannelsLast
    } else {
        planes.format()?
    };
    let last = format == MemoryFormat::ChannelsLast;
    let affine = Affine::of(&planes.input)?;
    let zero = affine.zero;
    pooled_codes(&planes, &windows, format, |sum, window| {
        let centred = (sum - window.count() * i64::from(zero)) as f32;
        let mean = centred * (1.0 / divisor(window) as f32);
        if last {
            affine.code(mean)
        } else {
            affine.rounded(mean + zero as f32)
        }
    })
}

/// `adaptive_avg_pool2d(input, output_size)`
fn adaptive_avg_pool(call: &Call<'_>) -> Result<Value> {
    let planes = Planes::new(call)?;
    let windows = adaptive_windows(call, &planes)?;
    let format = planes.input.memory_format();
    let last = planes.spatial > 1 && format == MemoryFormat::ChannelsLast;
    if !planes.input.dtype().is_quantized() {
        if windows.output == [1; 3] {
            return global_mean(&planes, &windows, format);
        }
        let channels = planes.input.shape()[1] as usize;
        return averaged(&planes, &windows, format, |plane, sum, window| {
            // Vectors of channels divide once.
            if last && plane % channels < channels / 8 * 8 {
                return sum / window.count() as f32;
            }
            let sides = (0..3).map(|d| (window.end[d] - window.start[d]) as f32);
            sides.fold(sum, |mean, side| mean / side)
        });
    }
    let format = planes.format()?;
    let last = format == MemoryFormat::ChannelsLast;
    let affine = Affine::of(&planes.input)?;
    let zero = affine.zero;
    pooled_codes(&planes, &windows, format, |sum, window| {
        let count = window.count();
        if last {
            let centred = (sum - count * i64::from(zero)) as f32;
            return affine.code(centred * (1.0 / count as f32));
        }
        let sides = (0..3).map(|d| (window.end[d] - window.start[d]) as f32);
        let share = sides.fold(1.0f32, |share, side| share / side);
        affine.rounded(sum as f32 * share)
    })
}

fn adaptive_windows(call: &Call<'_>, planes: &Planes) -> Result<Windows> {
    let wanted = call.items(1).map_or_else(
        |_| {
            call.ints(1)
                .map(|v| v.into_iter().map(Value::Int).collect())
        },
        Ok,
    )?;
    let sizes = &planes.input.shape()[2..];
    let wanted: Option<Vec<i64>> = wanted
        .iter()
        .zip(sizes.iter().skip(sizes.len().saturating_sub(wanted.len())))
        .map(|(value, size)| {
            if value.is_none() {
                Some(*size)
            } else {
                value.as_int()
            }
        })
        .collect();
    let wanted = match wanted {
        Some(wanted) if wanted.len() == planes.spatial => wanted,
        Some(wanted) if wanted.len() == 1 => vec![wanted[0]; planes.spatial],
        _ => return Err(call.wrong(1, "one size for each dimension")),
    };
    if wanted.iter().any(|size| *size < 1) || sizes.contains(&0) {
        return Err(call.wrong(1, "positive sizes"));
    }
    let windows = Windows::adaptive(planes.sizes, widened(&wanted, 1))?;
    call.work(windows.cells().saturating_mul(planes.count() as u64))?;
    Ok(windows)
}

/// `adaptive_max_pool2d(input, output_size)`: values and indices.
fn adaptive_max_pool(call: &Call<'_>) -> Result<Vec<Value>> {
    let planes = Planes::new(call)?;
    let windows = adaptive_windows(call, &planes)?;
    with_places(largest(&planes, &windows)?)
}

/// Values and a tensor of where they stood.
fn with_places((out, indices): (Tensor, Vec<i64>)) -> Result<Vec<Value>> {
    let places = Tensor::zeros_strided(DType::Long, out.shape(), out.strides())?;
    places.write_elements(&indices)?;
    Ok(vec![out.into(), places.into()])
}

/// The mean of each plane, which PyTorch takes as `mean` does.
fn global_mean(planes: &Planes, windows: &Windows, format: MemoryFormat) -> Result<Value> {
    let out = planes.result(windows.output, format)?;
    let dims: Vec<usize> = (2..planes.input.rank()).collect();
    let sums = sums_over(&planes.input, &dims)?;
    let cells = planes.cells() as f32;
    out.write_f32(&sums.iter().map(|sum| sum / cells).collect::<Vec<_>>())?;
    Ok(unbatched(out, planes.had_batch)?.into())
}

/// A result of floats made of the sums in the windows, which are taken in order, in the precision of `f32`.
fn averaged(
    planes: &Planes,
    windows: &Windows,
    format: MemoryFormat,
    mean: impl Fn(usize, f32, &Window) -> f32,
) -> Result<Value> {
    let out = planes.result(windows.output, format)?;
    let values = planes.input.to_f32()?;
    let mut means = Vec::with_capacity(out.numel());
    for (index, plane) in values.chunks_exact(planes.cells().max(1)).enumerate() {
        for window in &windows.all {
            let mut sum = 0.0;
            window.each(windows.input, |cell| sum += plane[cell]);
            means.push(mean(index, sum, window));
        }
    }
    out.write_f32(&means)?;
    Ok(unbatched(out, planes.had_batch)?.into())
}

/// A result whose codes are made of the sums of the codes in the windows.
fn pooled_codes(
    planes: &Planes,
    windows: &Windows,
    format: MemoryFormat,
    code: impl Fn(i64, &Window) -> i32,
) -> Result<Value> {
    let out = planes.result(windows.output, format)?;
    let values = planes.input.codes()?;
    let mut codes = Vec::with_capacity(out.numel());
    for plane in values.chunks_exact(planes.cells().max(1)) {
        for window in &windows.all {
            let mut sum = 0i64;
            window.each(windows.input, |cell| sum += i64::from(plane[cell]));
            codes.push(code(sum, window));
        }
    }
    out.write_codes(&codes)?;
    Ok(unbatched(out, planes.had_batch)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn run(op: &str, inputs: &[Value]) -> Tensor {
        let out = apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0);
        out.as_tensor().unwrap().clone()
    }

    #[test]
    fn padding_is_no_candidate_for_a_maximum() {
        let x = Tensor::from_values(&[1, 1, 3], &[-5f32, -7., -6.]).unwrap();
        let inputs = [
            x.into(),
            Value::ints(&[2]),
            Value::ints(&[2]),
            Value::ints(&[1]),
            Value::ints(&[1]),
            false.into(),
        ];
        assert_eq!(
            run("aten::max_pool1d", &inputs).to_f32().unwrap(),
            [-5., -6.]
        );
    }

    #[test]
    fn the_layout_decides_how_a_tie_rounds() {
        // Codes 1 and 2 with the odd zero point 1: the mean is 1.5, a tie.
        let codes = super::super::quant::from_codes(
            DType::QUInt8,
            &[1, 2, 1, 2],
            &[4, 2, 2, 1],
            &[1, 2, 1, 2],
            0.5,
            1,
        )
        .unwrap();
        let last = codes.contiguous(MemoryFormat::ChannelsLast).unwrap();
        let mean = |x: &Tensor| {
            let inputs = [
                x.clone().into(),
                Value::ints(&[1, 2]),
                Value::ints(&[]),
                Value::ints(&[0, 0]),
                false.into(),
                true.into(),
                Value::None,
            ];
            run("aten::avg_pool2d", &inputs).codes().unwrap()
        };
        assert_eq!(mean(&codes), [2, 2]);
        assert_eq!(mean(&last), [1, 1]);
    }

    #[test]
    fn adaptive_windows_cover_everything() {
        let x = Tensor::from_values(&[1, 1, 5], &[1f32, 2., 3., 4., 5.]).unwrap();
        let out = run("aten::adaptive_avg_pool1d", &[x.into(), Value::ints(&[3])]);
        assert_eq!(out.to_f32().unwrap(), [1.5, 3., 4.5]);
    }
}
