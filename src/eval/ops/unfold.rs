//! Windows of images laid out as columns, and columns added up to an image.

use planish_ir::Dims;

use super::window::{Axis, batched, conv_size, unbatched};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[("aten::im2col", One(im2col)), ("aten::col2im", One(col2im))];

/// The windows of an image along its height and its width.
struct Windows([Axis; 2]);

impl Windows {
    /// The arguments from `first` on are kernel, dilation, padding and stride.
    fn new(call: &Call<'_>, first: usize, sizes: &[i64]) -> Result<Self> {
        let kernel = call.ints_for(first, 2, 1)?;
        let dilation = call.ints_for(first + 1, 2, 1)?;
        let padding = call.ints_for(first + 2, 2, 0)?;
        let stride = call.ints_for(first + 3, 2, 1)?;
        let axis = |d: usize| -> Result<Axis> {
            let (size, k, s, p, l) = (sizes[d], kernel[d], stride[d], padding[d], dilation[d]);
            Axis::new(size, k, s, p, l, conv_size(size, k, s, p, l)?)
        };
        Ok(Self([axis(0)?, axis(1)?]))
    }

    fn taps(&self) -> usize {
        self.0[0].taps * self.0[1].taps
    }

    fn count(&self) -> usize {
        self.0[0].output * self.0[1].output
    }

    /// Calls `visit` with each cell of a channel's columns and the pixel that it is, in the order of the columns.
    fn each(&self, mut visit: impl FnMut(Option<usize>)) {
        let [high, wide] = &self.0;
        for i in 0..high.taps {
            for j in 0..wide.taps {
                for h in 0..high.output {
                    for w in 0..wide.output {
                        let place = high.place(h, i).zip(wide.place(w, j));
                        visit(place.map(|(h, w)| h * wide.input + w));
                    }
                }
            }
        }
    }
}

/// `im2col(input, kernel, dilation, padding, stride)`
fn im2col(call: &Call<'_>) -> Result<Value> {
    let (input, had_batch) = batched(call.tensor(0)?, 2)?;
    let windows = Windows::new(call, 1, &input.shape()[2..])?;
    let (batch, channels) = (input.shape()[0], input.shape()[1]);
    let shape = [
        batch,
        channels * windows.taps() as i64,
        windows.count() as i64,
    ];
    call.work(
        shape
            .iter()
            .fold(1u64, |n, size| n.saturating_mul(*size as u64)),
    )?;
    let out = Tensor::zeros(input.dtype(), &shape, MemoryFormat::Contiguous)?;
    let plane = (input.shape()[2] * input.shape()[3]) as usize;
    let values = input.to_f64()?;
    let mut columns = Vec::with_capacity(out.numel());
    for plane in values.chunks_exact(plane.max(1)) {
        windows.each(|pixel| columns.push(pixel.map_or(0.0, |pixel| plane[pixel])));
    }
    out.write_f64(&columns)?;
    Ok(unbatched(out, had_batch)?.into())
}

/// `col2im(columns, size, kernel, dilation, padding, stride)`: what lies on the same pixel is added up.
fn col2im(call: &Call<'_>) -> Result<Value> {
    let columns = call.tensor(0)?;
    let sizes = call.ints_for(1, 2, 1)?;
    let windows = Windows::new(call, 2, &sizes)?;
    let (taps, count) = (windows.taps() as i64, windows.count() as i64);
    let (lead, rows) = match columns.shape() {
        [rows, last] if *last == count => (Vec::new(), *rows),
        [batch, rows, last] if *last == count => (vec![*batch], *rows),
        _ => return Err(call.wrong(0, "as many columns as the image has windows")),
    };
    if taps < 1 || rows % taps != 0 {
        return Err(call.wrong(0, "whole windows of each channel"));
    }
    let mut shape = Dims::from_slice(&lead);
    shape.extend([rows / taps, sizes[0], sizes[1]]);
    let out = Tensor::zeros(columns.dtype(), &shape, MemoryFormat::Contiguous)?;
    let plane = (sizes[0] * sizes[1]) as usize;
    let values = columns.to_f32()?;
    let mut image = vec![0.0f32; out.numel()];
    let channels = image.chunks_exact_mut(plane.max(1));
    for (plane, cells) in channels.zip(values.chunks_exact(((taps * count) as usize).max(1))) {
        let mut cells = cells.iter();
        windows.each(|pixel| {
            let cell = cells.next().copied().unwrap_or_default();
            if let Some(pixel) = pixel {
                plane[pixel] += cell;
            }
        });
    }
    out.write_f32(&image)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn columns_of_windows_without_overlap_make_the_image_again() {
        let values: Vec<f32> = (0..24u8).map(f32::from).collect();
        let image = Tensor::from_values(&[1, 2, 4, 3], &values).unwrap();
        let [kernel, one, none] = [[2, 3], [1, 1], [0, 0]].map(|v| Value::ints(&v));
        let windows = [kernel.clone(), one, none, kernel];
        let run = |op: &str, mut first: Vec<Value>| {
            first.extend(windows.iter().cloned());
            apply(Op::of(op), &first, Contract::Fbgemm)
                .unwrap()
                .remove(0)
        };
        let columns = run("aten::im2col", vec![image.clone().into()]);
        let found = columns.as_tensor().unwrap();
        assert_eq!(found.shape(), [1, 12, 2]);
        assert_eq!(found.to_f32().unwrap()[..4], [0., 6., 1., 7.]);
        let back = run("aten::col2im", vec![columns, Value::ints(&[4, 3])]);
        assert_eq!(back.as_tensor().unwrap().to_f32().unwrap(), values);
    }
}
