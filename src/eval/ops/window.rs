//! Windows that slide over one to three spatial dimensions: convolutions and pools.
//!
//! Everything is brought to three spatial dimensions; missing ones have size 1 in front.

use planish_ir::Dims;

use crate::{Error, Result, Tensor};

/// Sizes of the three spatial dimensions.
pub(super) type Sizes = [usize; 3];

/// Where the taps of a window lie along one dimension: for each output, the input index of each tap, or `None` in the padding.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) taps: usize,
    places: Vec<Option<usize>>,
}

impl Axis {
    /// A window of `taps`, `dilation` apart, that moves by `stride`.
    pub(super) fn new(
        input: i64,
        taps: i64,
        stride: i64,
        padding: i64,
        dilation: i64,
        output: i64,
    ) -> Result<Self> {
        let mut axis = Self::empty(input, taps, output)?;
        for out in 0..output {
            for tap in 0..taps {
                let at = out
                    .saturating_mul(stride)
                    .saturating_add(tap.saturating_mul(dilation))
                    .saturating_sub(padding);
                axis.places
                    .push((0..input).contains(&at).then_some(at as usize));
            }
        }
        Ok(axis)
    }

    /// The window of a transposed convolution: the inputs whose copies of the kernel reach an output.
    pub(super) fn transposed(
        input: i64,
        taps: i64,
        stride: i64,
        padding: i64,
        dilation: i64,
        output: i64,
    ) -> Result<Self> {
        let mut axis = Self::empty(input, taps, output)?;
        for out in 0..output {
            for tap in 0..taps {
                let reach = out
                    .saturating_add(padding)
                    .saturating_sub(tap.saturating_mul(dilation));
                let hit = reach >= 0 && reach % stride == 0 && reach / stride < input;
                axis.places.push(hit.then(|| (reach / stride) as usize));
            }
        }
        Ok(axis)
    }

    fn empty(input: i64, taps: i64, output: i64) -> Result<Self> {
        let count = taps.max(0).saturating_mul(output.max(0));
        crate::limits::room(usize::try_from(count).unwrap_or(usize::MAX), 16)?;
        Ok(Self {
            input: input as usize,
            output: output.max(0) as usize,
            taps: taps.max(0) as usize,
            places: Vec::with_capacity(count as usize),
        })
    }

    /// The input index of a tap of an output.
    pub(super) fn place(&self, output: usize, tap: usize) -> Option<usize> {
        self.places[output * self.taps + tap]
    }
}

/// The last `spatial` values, with `fill` in front up to three.
pub(super) fn widened(values: &[i64], fill: i64) -> [i64; 3] {
    let mut out = [fill; 3];
    for (to, from) in out.iter_mut().rev().zip(values.iter().rev()) {
        *to = *from;
    }
    out
}

/// Spatial sizes of a result, without the filled dimensions.
pub(super) fn narrowed(values: [i64; 3], spatial: usize) -> Dims {
    values[3 - spatial..].iter().copied().collect()
}

/// Sizes above this are taken for nonsense: below it, products of two of them fit in 64 bits.
const MOST: i64 = 1 << 30;

fn are_sane(kernel: i64, stride: i64, padding: i64, dilation: i64) -> bool {
    let positive = [kernel, stride, dilation];
    positive.iter().all(|size| (1..=MOST).contains(size)) && (0..=MOST).contains(&padding)
}

/// The number of places of a window of a convolution.
pub(super) fn conv_size(
    input: i64,
    kernel: i64,
    stride: i64,
    padding: i64,
    dilation: i64,
) -> Result<i64> {
    // The sizes that `col2im` is told are not those of a tensor.
    let sane = are_sane(kernel, stride, padding, dilation) && (0..=i64::MAX >> 1).contains(&input);
    if !sane || dilation * (kernel - 1) >= 2 * padding + input {
        return Err(Error::Invalid(format!(
            "a kernel of {kernel} (stride {stride}, padding {padding}, dilation {dilation}) does not fit an input of {input}"
        )));
    }
    Ok((2 * padding + input - dilation * (kernel - 1) - 1) / stride + 1)
}

/// The size of the result of a transposed convolution.
pub(super) fn transposed_size(
    input: i64,
    kernel: i64,
    stride: i64,
    padding: i64,
    dilation: i64,
    extra: i64,
) -> Result<i64> {
    let size = (input - 1)
        .checked_mul(stride)
        .and_then(|size| size.checked_sub(padding.checked_mul(2)?))
        .and_then(|size| size.checked_add(dilation.checked_mul(kernel - 1)?))
        .and_then(|size| size.checked_add(extra.checked_add(1)?));
    match size {
        Some(size) if size > 0 && input > 0 && stride > 0 && dilation > 0 => Ok(size),
        _ => Err(Error::Invalid(format!(
            "a transposed kernel of {kernel} (stride {stride}, padding {padding}, dilation {dilation}) gives nothing for an input of {input}"
        ))),
    }
}

/// The number of places of a pool's window; in ceil mode the last one may hang over, but must start inside the input or its left padding.
pub(super) fn pool_size(
    input: i64,
    kernel: i64,
    stride: i64,
    padding: i64,
    dilation: i64,
    ceil: bool,
) -> Result<i64> {
    let sane = are_sane(kernel, stride, padding, dilation) && padding <= kernel / 2;
    let room = if sane {
        input + 2 * padding - dilation * (kernel - 1) - 1
    } else {
        -1
    };
    if !sane || (room < 0 && !ceil) {
        return Err(Error::Invalid(format!(
            "a window of {kernel} (stride {stride}, padding {padding}, dilation {dilation}) does not fit an input of {input}"
        )));
    }
    let extra = if ceil { stride - 1 } else { 0 };
    let mut size = (room + extra).div_euclid(stride) + 1;
    if ceil && (size - 1) * stride >= input + padding {
        size -= 1;
    }
    if size < 1 {
        return Err(Error::Invalid(format!(
            "a window of {kernel} gives nothing for an input of {input}"
        )));
    }
    Ok(size)
}

/// An input with a batch dimension: one is added when `rank` says that it is missing.
pub(super) fn batched(input: &Tensor, spatial: usize) -> Result<(Tensor, bool)> {
    match input.rank().checked_sub(spatial) {
        Some(1) => Ok((input.unsqueeze(0)?, false)),
        Some(2) => Ok((input.clone(), true)),
        _ => Err(Error::Invalid(format!(
            "{input:?} does not have {spatial} spatial dimensions"
        ))),
    }
}

/// Removes the batch dimension that was added.
pub(super) fn unbatched(output: Tensor, had_batch: bool) -> Result<Tensor> {
    if had_batch {
        Ok(output)
    } else {
        output.squeeze(|dim| dim == 0)
    }
}

/// The order of dimensions that puts the channels last.
pub(super) fn channels_to_end(rank: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order.remove(1);
    order.push(1);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_window() {
        assert_eq!(conv_size(224, 7, 2, 3, 1).unwrap(), 112);
        assert!(conv_size(2, 3, 1, 0, 1).is_err());
        assert_eq!(pool_size(5, 2, 2, 0, 1, false).unwrap(), 2);
        assert_eq!(pool_size(5, 2, 2, 0, 1, true).unwrap(), 3);
        assert_eq!(transposed_size(4, 3, 2, 1, 1, 1).unwrap(), 8);
    }

    #[test]
    fn transposed_places_are_those_that_reach_the_output() {
        let forward = Axis::new(8, 3, 2, 1, 1, 4).unwrap();
        let back = Axis::transposed(4, 3, 2, 1, 1, 8).unwrap();
        for small in 0..4 {
            for tap in 0..3 {
                if let Some(large) = forward.place(small, tap) {
                    assert_eq!(back.place(large, tap), Some(small));
                }
            }
        }
    }
}
