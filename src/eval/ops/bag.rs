//! Bags of embeddings: rows of a table of floats, put together bag by bag.

use planish_ir::DType;

use super::{Kernel, Table};
use crate::call::Call;
use crate::{MemoryFormat, Result, Tensor, Value};
use Kernel::Many;

pub(super) const OPS: Table = &[("aten::embedding_bag", Many(bag))];

/// How the rows of a bag become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sum,
    Mean,
    Max,
}

/// `embedding_bag(table, indices, offsets, scale_grad_by_freq, mode, sparse, weights, include_last_offset, padding_idx)`: the bags, the bag of
/// each index, the sizes of the bags, and the index that gave each largest value.
fn bag(call: &Call<'_>) -> Result<Vec<Value>> {
    let (table, indices) = (call.tensor(0)?, call.tensor(1)?.to_i64()?);
    let [rows, width] = table.shape() else {
        return Err(call.wrong(0, "a table"));
    };
    if table.dtype() != DType::Float {
        return Err(call.unsupported(format_args!("on a table of {}", table.dtype())));
    }
    let mode = match call.int_or(4, 0)? {
        0 => Mode::Sum,
        1 => Mode::Mean,
        2 => Mode::Max,
        _ => return Err(call.wrong(4, "a mode of 0, 1 or 2")),
    };
    let weights = call.tensor_opt(6)?.map(Tensor::to_f32).transpose()?;
    let weighs = |weights: &Vec<f32>| weights.len() == indices.len() && mode == Mode::Sum;
    if !weights.as_ref().is_none_or(weighs) {
        return Err(call.wrong(6, "a weight for each index of a sum"));
    }
    let ends = ends(call, indices.len())?;
    let skipped = call
        .int_opt(8)?
        .map(|row| if row < 0 { row + rows } else { row });
    if indices.iter().any(|row| !(0..*rows).contains(row)) {
        return Err(call.wrong(1, "rows of the table"));
    }

    let (count, width) = (ends.len() as i64, *width as usize);
    let elements = table.to_f32()?;
    let row = |row: i64| &elements[row as usize * width..][..width];
    let mut out: Vec<f32> = Vec::new();
    let (mut bags, mut sizes, mut most) = (vec![0i64; indices.len()], Vec::new(), Vec::new());
    let mut start = 0;
    for (bag, end) in ends.into_iter().enumerate() {
        let (mut sums, mut best) = (vec![0f32; width], vec![-1i64; width]);
        let mut size = 0;
        for at in start..end {
            bags[at] = bag as i64;
            if Some(indices[at]) == skipped {
                continue;
            }
            for ((sum, best), x) in sums.iter_mut().zip(&mut best).zip(row(indices[at])) {
                match (mode, &weights) {
                    (Mode::Max, _) if *best >= 0 && *x <= *sum => {}
                    (Mode::Max, _) => (*sum, *best) = (*x, indices[at]),
                    (_, Some(weights)) => *sum = weights[at].mul_add(*x, *sum),
                    (_, None) => *sum += x,
                }
            }
            size += 1;
        }
        if mode == Mode::Mean && size > 0 {
            let share = 1.0 / size as f32;
            for sum in &mut sums {
                *sum *= share;
            }
        }
        out.extend(sums);
        most.extend(best);
        sizes.push(size);
        start = end;
    }
    let shape = [count, width as i64];
    let output = Tensor::zeros(DType::Float, &shape, MemoryFormat::Contiguous)?;
    output.write_f32(&out)?;
    let places = match mode {
        Mode::Max => Tensor::from_values(&shape, &most)?,
        _ => Tensor::from_values(&[sizes.len() as i64], &sizes)?,
    };
    Ok(vec![
        output.into(),
        Tensor::from_values(&[bags.len() as i64], &bags)?.into(),
        Tensor::from_values(&[sizes.len() as i64], &sizes)?.into(),
        places.into(),
    ])
}

/// Where each bag ends among `count` indices.
fn ends(call: &Call<'_>, count: usize) -> Result<Vec<usize>> {
    let wrong = || call.wrong(2, "rising offsets from 0 up to the number of indices");
    let starts = call.tensor(2)?.to_i64()?;
    let mut ends: Vec<i64> = starts.iter().skip(1).copied().collect();
    if !call.bool_or(7, false)? && !starts.is_empty() {
        ends.push(count as i64);
    }
    let rises = starts.first().is_none_or(|first| *first == 0) && ends.is_sorted();
    if !rises || ends.last().is_some_and(|last| *last > count as i64) {
        return Err(wrong());
    }
    let ends = ends.into_iter().map(usize::try_from);
    ends.collect::<std::result::Result<_, _>>()
        .map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn bags_are_sums_means_and_extremes_of_rows() {
        let long = |values: &[i64]| {
            Value::from(Tensor::from_values(&[values.len() as i64], values).unwrap())
        };
        let bags = |mode: i64| {
            let args = [
                counting(&[4, 2]).into(),
                long(&[1, 3, 2]),
                long(&[0, 2, 2]),
                false.into(),
                Value::Int(mode),
                false.into(),
                Value::None,
                false.into(),
            ];
            run("aten::embedding_bag", &args).to_f32().unwrap()
        };
        assert_eq!(bags(0), [8., 10., 0., 0., 4., 5.]);
        assert_eq!(bags(1), [4., 5., 0., 0., 4., 5.]);
        assert_eq!(bags(2), [6., 7., 0., 0., 4., 5.]);
    }
}
