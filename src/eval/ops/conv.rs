//! Convolutions, transposed or not: the sum over a window, for floats and for codes.
//!
//! Floats are summed in PyTorch's order, see [`Order`]; doubles as they come.

use planish_ir::{ConvGeometry, DType, Dims};
use smallvec::SmallVec;

use super::order::{Order, Shape};
use super::window::{
    Axis, Sizes, batched, channels_to_end, conv_size, narrowed, transposed_size, unbatched, widened,
};
use super::{Kernel, Table};
use crate::call::Call;
use crate::limits::room;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::conv1d", One(conv)),
    ("aten::conv2d", One(conv)),
    ("aten::conv3d", One(conv)),
    ("aten::conv_transpose1d", One(conv_transpose)),
    ("aten::conv_transpose2d", One(conv_transpose)),
    ("aten::conv_transpose3d", One(conv_transpose)),
    ("aten::_convolution", One(convolution)),
    ("aten::_convolution_mode", One(conv)),
];

/// Elements that can be multiplied and summed.
pub(super) trait Sum: Copy + Default {
    /// The type of the sum.
    type Total: Copy;

    /// The sum of the products of two equally long runs.
    fn dot(a: &[Self], b: &[Self]) -> Self::Total;
}

/// Codes less their zero points: exact in 32 bits, wrapping where the hardware wraps.
impl Sum for i16 {
    type Total = i32;

    fn dot(a: &[Self], b: &[Self]) -> i32 {
        let products = a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b));
        products.fold(0, i32::wrapping_add)
    }
}

impl Sum for f64 {
    type Total = f64;

    fn dot(a: &[Self], b: &[Self]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }
}

/// A convolution whose sizes were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Input channels in a group.
    pub(super) inputs: usize,
    /// Output channels in a group.
    pub(super) outputs: usize,
    axes: [Axis; 3],
    spatial: usize,
}

impl Plan {
    /// The convolution of an input `[n, c, …]` with a weight of the given shape.
    pub(super) fn new(input: &[i64], weight: &[i64], geometry: &ConvGeometry) -> Result<Self> {
        let spatial = geometry.stride.len();
        let wrong = |what: &str| {
            Error::Invalid(format!(
                "an input of shape {input:?} and a weight of shape {weight:?} {what}"
            ))
        };
        let lists = [
            &geometry.padding,
            &geometry.dilation,
            &geometry.output_padding,
        ];
        if input.len() != spatial + 2
            || weight.len() != spatial + 2
            || !(1..=3).contains(&spatial)
            || lists.iter().any(|list| list.len() != spatial)
        {
            return Err(wrong("differ in their number of dimensions"));
        }
        let groups = geometry.groups;
        let (outputs, inputs) = if geometry.transposed {
            (weight[1], weight[0].checked_div(groups).unwrap_or(0))
        } else {
            (weight[0].checked_div(groups).unwrap_or(0), weight[1])
        };
        let (first, whole) = if geometry.transposed {
            (inputs, weight[0])
        } else {
            (outputs, weight[0])
        };
        if groups < 1 || inputs.saturating_mul(groups) != input[1] || first * groups != whole {
            return Err(wrong(&format!("do not fit in {groups} groups")));
        }
        let (sizes, kernel) = (widened(&input[2..], 1), widened(&weight[2..], 1));
        let stride = widened(&geometry.stride, 1);
        let padding = widened(&geometry.padding, 0);
        let dilation = widened(&geometry.dilation, 1);
        let extra = widened(&geometry.output_padding, 0);
        let axis = |d: usize| -> Result<Axis> {
            let (i, k, s, p, l) = (sizes[d], kernel[d], stride[d], padding[d], dilation[d]);
            if geometry.transposed {
                Axis::transposed(i, k, s, p, l, transposed_size(i, k, s, p, l, extra[d])?)
            } else {
                Axis::new(i, k, s, p, l, conv_size(i, k, s, p, l)?)
            }
        };
        Ok(Self {
            batch: input[0] as usize,
            groups: groups as usize,
            inputs: inputs as usize,
            outputs: outputs as usize,
            axes: [axis(0)?, axis(1)?, axis(2)?],
            spatial,
        })
    }

    /// Shape of the result.
    pub(super) fn shape(&self) -> Dims {
        let mut shape = Dims::from_slice(&[self.batch as i64, self.channels() as i64]);
        let sizes = [0, 1, 2].map(|d| self.axes[d].output as i64);
        shape.extend(narrowed(sizes, self.spatial));
        shape
    }

    /// Output channels.
    pub(super) fn channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// Places in the output of one image.
    pub(super) fn pixels(&self) -> usize {
        self.axes.iter().map(|axis| axis.output).product()
    }

    fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.taps).product()
    }

    /// Products of the whole convolution.
    pub(super) fn products(&self) -> u64 {
        let each = self.taps() as u64 * self.inputs as u64;
        let sums = (self.batch * self.channels()) as u64;
        each.saturating_mul(sums)
            .saturating_mul(self.pixels() as u64)
    }

    /// The sums, channels innermost. `input` has its channels innermost too, and `weight` is `[out][taps][in / groups]`.
    pub(super) fn run<T: Sum>(
        &self,
        input: &[T],
        weight: &[T],
        mut emit: impl FnMut(usize, T::Total),
    ) -> Result<()> {
        self.windows(input, weight, |o, window, taps| {
            emit(o, T::dot(window, taps));
        })
    }

    /// Each output's channel, window and weight.
    fn windows<T: Copy + Default>(
        &self,
        input: &[T],
        weight: &[T],
        mut each: impl FnMut(usize, &[T], &[T]),
    ) -> Result<()> {
        let depth = self.taps() * self.inputs;
        let row = self.axes[2].output;
        room(row.saturating_mul(depth), size_of::<T>())?;
        // The windows of one row of pixels of one group at a time.
        let mut patch = vec![T::default(); row * depth * self.groups];
        let image =
            self.axes.iter().map(|axis| axis.input).product::<usize>() * self.groups * self.inputs;
        for n in 0..self.batch {
            let image = &input[n * image..(n + 1) * image];
            for d in 0..self.axes[0].output {
                for h in 0..self.axes[1].output {
                    self.collect(image, [d, h, 0], &mut patch);
                    for w in 0..row {
                        for g in 0..self.groups {
                            let from = (w * self.groups + g) * depth;
                            let window = &patch[from..from + depth];
                            for o in g * self.outputs..(g + 1) * self.outputs {
                                let taps = &weight[o * depth..(o + 1) * depth];
                                each(o, window, taps);
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Copies the windows of a row of pixels: `[w][group][tap][channel]`.
    fn collect<T: Copy + Default>(&self, image: &[T], at: Sizes, patch: &mut [T]) {
        let [deep, high, wide] = &self.axes;
        let channels = self.groups * self.inputs;
        let depth = self.taps() * self.inputs;
        for w in 0..wide.output {
            let mut tap = 0;
            for i in 0..deep.taps {
                for j in 0..high.taps {
                    for k in 0..wide.taps {
                        let place = deep.place(at[0], i).zip(high.place(at[1], j));
                        let place = place.zip(wide.place(w, k));
                        let pixel = place.map(|((d, h), w)| (d * high.input + h) * wide.input + w);
                        for g in 0..self.groups {
                            let to = (w * self.groups + g) * depth + tap * self.inputs;
                            let to = &mut patch[to..to + self.inputs];
                            match pixel {
                                Some(pixel) => {
                                    let from = pixel * channels + g * self.inputs;
                                    to.copy_from_slice(&image[from..from + self.inputs]);
                                }
                                None => to.fill(T::default()),
                            }
                        }
                        tap += 1;
                    }
                }
            }
        }
    }
}

/// A weight as `[out][taps][in / groups]`, so that windows and weights are runs of memory.
pub(super) fn weight_rows(weight: &Tensor, geometry: &ConvGeometry) -> Result<Tensor> {
    let order = channels_to_end(weight.rank());
    if !geometry.transposed {
        return weight.permute(&order)?.contiguous(MemoryFormat::Contiguous);
    }
    // [g·i, o, k…] -> [g, i, o, k…] -> [g, o, k…, i]
    let shape = weight.shape();
    let mut split = Dims::from_slice(&[geometry.groups, shape[0] / geometry.groups]);
    split.extend_from_slice(&shape[1..]);
    let mut order = vec![0, 2];
    order.extend(3..split.len());
    order.push(1);
    let weight = weight.reshape(&split)?.permute(&order)?;
    weight.contiguous(MemoryFormat::Contiguous)
}

/// `conv{1,2,3}d(input, weight, bias, stride, padding, dilation, groups)`, and with the padding in words for any number of dimensions
fn conv(call: &Call<'_>) -> Result<Value> {
    let spatial = match call.short_name() {
        "_convolution_mode" => call.tensor(1)?.rank().saturating_sub(2),
        _ => spatial(call),
    };
    let list = |index, default| -> Result<SmallVec<[i64; 3]>> {
        Ok(call.ints_for(index, spatial, default)?.into())
    };
    let mut geometry = ConvGeometry {
        stride: list(3, 1)?,
        padding: SmallVec::from_elem(0, spatial),
        dilation: list(5, 1)?,
        output_padding: SmallVec::from_elem(0, spatial),
        groups: call.int_or(6, 1)?,
        transposed: false,
    };
    let Value::Str(padding) = call.get(4) else {
        geometry.padding = list(4, 0)?;
        return convolve(call, call.tensor(0)?, &geometry);
    };
    match &**padding {
        "valid" => convolve(call, call.tensor(0)?, &geometry),
        "same" => {
            let padded = pad_to_same(call.tensor(0)?, call.tensor(1)?, &geometry)?;
            convolve(call, &padded, &geometry)
        }
        _ => Err(call.wrong(4, "valid or same")),
    }
}

/// The input with as many zeros around it that a stride of 1 keeps its sizes; the odd one goes behind.
fn pad_to_same(input: &Tensor, weight: &Tensor, geometry: &ConvGeometry) -> Result<Tensor> {
    let spatial = geometry.stride.len();
    if geometry.stride.iter().any(|stride| *stride != 1) || weight.rank() != spatial + 2 {
        return Err(Error::invalid("the padding same asks for a stride of 1"));
    }
    let mut shape = Dims::from(input.shape());
    let first = input.rank().saturating_sub(spatial);
    let mut inner: Vec<(usize, i64, i64)> = Vec::new();
    for (d, dilation) in geometry.dilation.iter().enumerate() {
        let total = dilation.saturating_mul(weight.shape()[2 + d] - 1);
        inner.push((first + d, total / 2, shape[first + d]));
        shape[first + d] += total;
    }
    let out = Tensor::zeros(input.dtype(), &shape, input.memory_format())?;
    let mut view = out.clone();
    for (dim, before, size) in inner {
        view = view.slice(dim, before, size, 1)?;
    }
    super::join::convert_into(input, &view)?;
    Ok(out)
}

/// `conv_transpose{1,2,3}d(input, weight, bias, stride, padding, output_padding, groups, dilation)`
fn conv_transpose(call: &Call<'_>) -> Result<Value> {
    let spatial = spatial(call);
    let list = |index, default| -> Result<SmallVec<[i64; 3]>> {
        Ok(call.ints_for(index, spatial, default)?.into())
    };
    let geometry = ConvGeometry {
        stride: list(3, 1)?,
        padding: list(4, 0)?,
        output_padding: list(5, 0)?,
        groups: call.int_or(6, 1)?,
        dilation: list(7, 1)?,
        transposed: true,
    };
    convolve(call, call.tensor(0)?, &geometry)
}

/// `_convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups, …)`
fn convolution(call: &Call<'_>) -> Result<Value> {
    let spatial = call.tensor(1)?.rank().saturating_sub(2);
    let list = |index, default| -> Result<SmallVec<[i64; 3]>> {
        Ok(call.ints_for(index, spatial, default)?.into())
    };
    let geometry = ConvGeometry {
        stride: list(3, 1)?,
        padding: list(4, 0)?,
        dilation: list(5, 1)?,
        transposed: call.bool(6)?,
        output_padding: list(7, 0)?,
        groups: call.int(8)?,
    };
    convolve(call, call.tensor(0)?, &geometry)
}

fn convolve(call: &Call<'_>, input: &Tensor, geometry: &ConvGeometry) -> Result<Value> {
    let (weight, bias) = (call.tensor(1)?, call.tensor_opt(2)?);
    if !input.dtype().is_floating_point() || !weight.dtype().is_floating_point() {
        return Err(call.wrong(0, "floats"));
    }
    let (input, had_batch) = batched(input, geometry.stride.len())?;
    let plan = Plan::new(input.shape(), weight.shape(), geometry)?;
    call.work(plan.products())?;
    let last = [&input, weight]
        .iter()
        .any(|t| t.memory_format() == MemoryFormat::ChannelsLast);
    let format = if last {
        MemoryFormat::ChannelsLast
    } else {
        MemoryFormat::Contiguous
    };
    let out = Tensor::zeros(input.dtype(), &plan.shape(), format)?;
    let end = channels_to_end(input.rank());
    let (x, w) = (input.permute(&end)?, weight_rows(weight, geometry)?);
    let to = out.permute(&end)?;
    let channels = plan.channels();
    let bias = match bias {
        Some(bias) if bias.shape() == [channels as i64] => bias.clone(),
        Some(_) => return Err(call.wrong(2, "one value for each output channel")),
        None => Tensor::zeros(input.dtype(), &[channels as i64], MemoryFormat::Contiguous)?,
    };
    if input.dtype() == DType::Double {
        let (bias, mut values) = (bias.to_f64()?, Vec::with_capacity(out.numel()));
        plan.run(&x.to_f64()?, &w.to_f64()?, |channel, sum| {
            values.push(sum + bias[channel]);
        })?;
        to.write_f64(&values)?;
    } else {
        let order = Order::of(&Shape {
            input: input.shape(),
            kernel: &weight.shape()[2..],
            geometry,
            inputs: plan.inputs,
            outputs: plan.outputs,
            last,
        });
        let (bias, mut values) = (bias.to_f32()?, Vec::with_capacity(out.numel()));
        plan.windows(&x.to_f32()?, &w.to_f32()?, |channel, window, taps| {
            values.push(order.sum(window, taps, bias[channel]));
        })?;
        to.write_f32(&values)?;
    }
    Ok(unbatched(out, had_batch)?.into())
}

/// The number of spatial dimensions in the operator's name.
pub(super) fn spatial(call: &Call<'_>) -> usize {
    let digit = call.short_name().bytes().find(u8::is_ascii_digit);
    digit.map_or(2, |digit| usize::from(digit - b'0'))
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
    fn a_transposed_convolution_is_the_adjoint() {
        // <conv(x), y> = <x, conv_transpose(y)> for every x and y.
        let values = |count: i64, seed: i64| -> Vec<f32> {
            (0..count).map(|i| ((i * seed) % 7 - 3) as f32).collect()
        };
        let tensor = |shape: &[i64], seed| {
            Tensor::from_values(shape, &values(shape.iter().product(), seed)).unwrap()
        };
        let (x, w) = (tensor(&[1, 4, 7, 6], 5), tensor(&[6, 2, 3, 2], 3));
        let (stride, padding) = (Value::ints(&[2, 1]), Value::ints(&[1, 1]));
        let forward = run(
            "aten::conv2d",
            &[
                x.clone().into(),
                w.clone().into(),
                Value::None,
                stride.clone(),
                padding.clone(),
                Value::ints(&[1, 2]),
                Value::Int(2),
            ],
        );
        let y = tensor(forward.shape(), 11);
        let back = run(
            "aten::conv_transpose2d.input",
            &[
                y.clone().into(),
                w.into(),
                Value::None,
                stride,
                padding,
                Value::ints(&[0, 0]),
                Value::Int(2),
                Value::ints(&[1, 2]),
            ],
        );
        assert_eq!(back.shape(), x.shape());
        let inner = |a: &Tensor, b: &Tensor| f64::dot(&a.to_f64().unwrap(), &b.to_f64().unwrap());
        assert_eq!(inner(&forward, &y), inner(&x, &back));
    }

    #[test]
    fn same_padding_puts_the_odd_zero_behind() {
        let x = Tensor::from_values(&[1, 1, 3], &[1f32, 2., 3.]).unwrap();
        let w = Tensor::from_values(&[1, 1, 2], &[1f32, 10.]).unwrap();
        let out = run(
            "aten::conv1d.padding",
            &[
                x.into(),
                w.into(),
                Value::None,
                Value::ints(&[1]),
                Value::str("same"),
                Value::ints(&[1]),
                Value::Int(1),
            ],
        );
        assert_eq!(out.to_f32().unwrap(), [21., 32., 3.]);
    }
}
