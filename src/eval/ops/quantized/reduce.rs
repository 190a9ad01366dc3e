//! The mean of quantized tensors.

use planish_ir::Dims;

use crate::float::sum;
use crate::ops::quant::{Affine, from_codes, per_tensor, suggested_strides};
use crate::ops::reduce::rows;
use crate::{MemoryFormat, Result, Tensor};

/// The mean over dimensions; parameters stay.
///
/// Over the innermost dimensions of a contiguous tensor the codes are averaged, unless a type is asked for. Otherwise real numbers are
/// summed in `f32`, in PyTorch's order: see [`Grouped`].
pub(in crate::ops) fn mean(
    input: &Tensor,
    dims: &[usize],
    keep: bool,
    typed: bool,
) -> Result<Tensor> {
    let affine = Affine::of(input)?;
    let (scale, zero_point) = per_tensor(input)?;
    let reduced = rows(input, dims, keep)?;
    let kept = input.rank() - dims.len();
    let innermost = dims.iter().all(|dim| *dim >= kept);
    let count = reduced.len;
    let codes: Vec<i32> = if input.is_contiguous() && innermost && !typed {
        let codes = reduced.tensor.codes()?;
        let rows = codes.chunks_exact(count.max(1));
        let sums = rows.map(|row| row.iter().map(|q| i64::from(*q)).sum::<i64>());
        sums.map(|sum| affine.rounded(sum as f32 / count as f32))
            .collect()
    } else {
        let real =
            |codes: Vec<i32>| -> Vec<f32> { codes.into_iter().map(|q| affine.plain(q)).collect() };
        // Dequantizing brings them to the layout that theirs is nearest to.
        let dense = input.copy_strided(&suggested_strides(input))?;
        let sums: Vec<f32> = if let Some(grouped) = Grouped::new(&dense, dims) {
            grouped.sums(&real(grouped.view.codes()?))?
        } else {
            // The order of other sums is not known: add them exactly.
            let values = real(reduced.tensor.codes()?);
            let rows = values.chunks_exact(count.max(1));
            rows.map(|row| row.iter().map(|x| f64::from(*x)).sum::<f64>() as f32)
                .collect()
        };
        sums.iter()
            .map(|sum| affine.quantize(sum / count as f32))
            .collect()
    };
    let strides = MemoryFormat::Contiguous.strides(&reduced.shape);
    from_codes(
        input.dtype(),
        &reduced.shape,
        &strides,
        &codes,
        scale,
        zero_point,
    )
}

/// A tensor as `[outer, reduced, columns]`, where that is how it lies in memory.
pub(in crate::ops) struct Grouped {
    pub(in crate::ops) view: Tensor,
    /// The sizes of the dimensions that stay, in the order of memory.
    sizes: Dims,
    /// For each dimension that stays, in logical order, its place in memory.
    places: Vec<usize>,
    order: Order,
}

/// In which order PyTorch adds. It goes along the reduced elements first, then along the last dimension that stays.
enum Order {
    /// The reduced elements lie side by side: there are no columns.
    Rows,
    /// The last dimension that stays lies innermost.
    Columns,
    /// It lies outside of the reduced ones.
    Apart,
    /// It lies among the columns, around so many channels.
    Pixels(usize),
}

impl Grouped {
    /// `None` where the reduced dimensions do not lie next to each other.
    pub(in crate::ops) fn new(input: &Tensor, dims: &[usize]) -> Option<Self> {
        let order: Vec<usize> = if input.is_contiguous() {
            (0..input.rank()).collect()
        } else if input.is_dense(MemoryFormat::ChannelsLast) {
            crate::ops::window::channels_to_end(input.rank())
        } else {
            return None;
        };
        let reduced: Vec<usize> = dims
            .iter()
            .filter_map(|dim| order.iter().position(|at| at == dim))
            .collect();
        let (first, last) = (*reduced.iter().min()?, *reduced.iter().max()?);
        if last - first + 1 != reduced.len() {
            return None;
        }
        let view = input.permute(&order).ok()?;
        let size = |range: &[i64]| range.iter().product::<i64>();
        let shape: Dims = [
            size(&view.shape()[..first]),
            size(&view.shape()[first..=last]),
            size(&view.shape()[last + 1..]),
        ]
        .into_iter()
        .collect();
        let stay: Vec<usize> = order
            .iter()
            .copied()
            .filter(|dim| !dims.contains(dim))
            .collect();
        let mut places: Vec<usize> = (0..stay.len()).collect();
        places.sort_by_key(|place| stay[*place]);
        Some(Self {
            view: view.view(&shape).ok()??,
            sizes: stay.iter().map(|dim| input.shape()[*dim]).collect(),
            places,
            order: match stay.iter().max() {
                _ if last + 1 == order.len() => Order::Rows,
                Some(dim) if order.last() == Some(dim) => Order::Columns,
                Some(_) if last + 2 == order.len() => Order::Apart,
                _ => Order::Pixels(input.shape()[1] as usize),
            },
        })
    }

    /// The sums over the reduced elements, in logical order; the values are those of the view.
    pub(in crate::ops) fn sums(&self, values: &[f32]) -> Result<Vec<f32>> {
        let [_, count, width] = [0, 1, 2].map(|d| self.view.shape()[d] as usize);
        if count == 0 {
            return Ok(vec![0.0; self.sizes.iter().product::<i64>() as usize]);
        }
        let blocks = values.chunks_exact((count * width).max(1));
        let sums: Vec<f32> = match self.order {
            Order::Rows => blocks.map(sum::run).collect(),
            Order::Columns => blocks
                .flat_map(|block| sum::columns(block, width))
                .collect(),
            Order::Apart => blocks
                .flat_map(|block| sum::single_columns(block, width))
                .collect(),
            Order::Pixels(channels) => blocks
                .flat_map(|block| sum::pixel_columns(block, width, channels))
                .collect(),
        };
        Tensor::from_values(&self.sizes, &sums)?
            .permute(&self.places)?
            .to_f32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planish_ir::DType;

    #[test]
    fn codes_are_averaged_without_the_zero_point() {
        let x = from_codes(DType::QUInt8, &[1, 2, 2], &[4, 2, 1], &[1, 2, 3, 4], 0.5, 1).unwrap();
        assert_eq!(
            mean(&x, &[2], false, false).unwrap().codes().unwrap(),
            [2, 4]
        );
    }
}
