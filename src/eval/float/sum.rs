//! Sums of floats in the order of PyTorch's reductions.

/// Floats in a vector of the kernels of reductions, which PyTorch leaves to AVX2.
const LANES: usize = 8;
/// Floats in a vector of the softmax, which has AVX512.
const WIDE: usize = 16;

/// The sum of a run of memory.
pub(crate) fn run(values: &[f32]) -> f32 {
    if values.len() < LANES {
        return four_ways(values);
    }
    let whole = values.len() / LANES * LANES;
    let rest = values[whole..].iter().fold(0.0, |sum, x| sum + x);
    (0..LANES).fold(rest, |sum, lane| {
        sum + four_ways(&every(&values[..whole], lane, LANES))
    })
}

/// Sums of the columns of a block of `width` columns.
pub(crate) fn columns(block: &[f32], width: usize) -> Vec<f32> {
    let whole = if width >= LANES {
        width / 32 * 32
    } else {
        width / 4 * 4
    };
    columns_by(block, width, |at| at < whole)
}

/// The same where every column is summed on its own.
pub(crate) fn single_columns(block: &[f32], width: usize) -> Vec<f32> {
    columns_by(block, width, |_| false)
}

/// The same where the columns are pixels of so many channels, of which four at a time are summed together.
pub(crate) fn pixel_columns(block: &[f32], width: usize, channels: usize) -> Vec<f32> {
    let whole = width / channels / 4 * 4;
    columns_by(block, width, |at| at / channels < whole)
}

fn columns_by(block: &[f32], width: usize, together: impl Fn(usize) -> bool) -> Vec<f32> {
    let sums = (0..width).map(|at| {
        let column = every(block, at, width);
        if together(at) {
            cascade(&column)
        } else {
            four_ways(&column)
        }
    });
    sums.collect()
}

/// The sum of a row of a softmax: 16 lanes, folded in halves.
pub(crate) fn folded(row: &[f32]) -> f32 {
    if row.len() < WIDE {
        return row.iter().copied().reduce(|sum, x| sum + x).unwrap_or(0.0);
    }
    let mut lanes = [0f32; WIDE];
    for vector in row.chunks(WIDE) {
        for (lane, x) in lanes.iter_mut().zip(vector) {
            *lane += x;
        }
    }
    fold(lanes)
}

/// The sum of 16 lanes: the upper half onto the lower one, until one is left.
pub(super) fn fold(mut lanes: [f32; WIDE]) -> f32 {
    for half in [8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(half);
        for (low, high) in low.iter_mut().zip(high) {
            *low += *high;
        }
    }
    lanes[0]
}

/// Four cascades over every fourth value, added in order.
fn four_ways(values: &[f32]) -> f32 {
    let each = values.len() / 4;
    let (whole, rest) = values.split_at(each * 4);
    let first = rest
        .iter()
        .fold(cascade(&every(whole, 0, 4)), |sum, x| sum + x);
    (1..4).fold(first, |sum, way| sum + cascade(&every(whole, way, 4)))
}

/// A sum over four levels of partial sums, each emptied into the next after a power of two of values.
fn cascade(values: &[f32]) -> f32 {
    const LEVELS: u32 = 4;
    let log = usize::BITS - values.len().saturating_sub(1).leading_zeros();
    let power = (log / LEVELS).max(4);
    let step = 1usize << power;
    let mut levels = [0f32; LEVELS as usize];
    let whole = values.len() / step * step;
    for (index, run) in values[..whole].chunks_exact(step).enumerate() {
        for value in run {
            levels[0] += value;
        }
        let done = (index + 1) * step;
        for level in 1..LEVELS {
            let at = level as usize;
            levels[at] += levels[at - 1];
            levels[at - 1] = 0.0;
            if done & ((step - 1) << (level * power)) != 0 {
                break;
            }
        }
    }
    for value in &values[whole..] {
        levels[0] += value;
    }
    levels[1..].iter().fold(levels[0], |sum, level| sum + level)
}

fn every(values: &[f32], first: usize, step: usize) -> Vec<f32> {
    values.iter().skip(first).step_by(step).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cascade_of_equal_values_is_exact() {
        for count in [1usize, 7, 16, 49, 100, 1000, 70_000] {
            assert_eq!(cascade(&vec![1.0; count]), count as f32);
            assert_eq!(four_ways(&vec![1.0; count]), count as f32);
            assert_eq!(run(&vec![1.0; count]), count as f32);
            assert_eq!(folded(&vec![1.0; count]), count as f32);
        }
    }
}
