//! What numbers are like as a whole: how often each one comes, which is the most frequent, which lies at a share of their order.

use planish_ir::DType;

use super::composed::made;
use super::reduce::rows;
use super::select::{self, Item};
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::bincount", One(bincount)),
    ("aten::histc", One(histogram)),
    ("aten::mode", Many(mode)),
    ("aten::quantile", One(quantile)),
    ("aten::nanquantile", One(quantile)),
    ("aten::nansum", One(nansum)),
    ("aten::nanmean", One(nanmean)),
];

/// `bincount(numbers, weights, minlength)`: how often each number comes, or what its weights add up to.
fn bincount(call: &Call<'_>) -> Result<Value> {
    let (numbers, least) = (call.tensor(0)?, call.int_or(2, 0)?);
    if numbers.rank() != 1 || numbers.dtype().is_floating_point() || least < 0 {
        return Err(call.wrong(0, "one row of integers"));
    }
    let numbers = numbers.to_i64()?;
    if numbers.iter().any(|number| *number < 0) {
        return Err(call.wrong(0, "numbers that are not negative"));
    }
    let most = numbers
        .iter()
        .max()
        .map_or(0, |most| most.saturating_add(1));
    let bins = most.max(least);
    let Some(weights) = call.tensor_opt(1)? else {
        let out = Tensor::zeros(DType::Long, &[bins], MemoryFormat::Contiguous)?;
        let mut counts = vec![0i64; bins as usize];
        for number in &numbers {
            counts[*number as usize] += 1;
        }
        out.write_i64(&counts)?;
        return Ok(out.into());
    };
    if weights.numel() != numbers.len() {
        return Err(call.wrong(1, "a weight for each number"));
    }
    let dtype = match weights.dtype() {
        DType::Float => DType::Float,
        _ => DType::Double,
    };
    let out = Tensor::zeros(dtype, &[bins], MemoryFormat::Contiguous)?;
    let mut sums = vec![0f64; bins as usize];
    for (number, weight) in numbers.iter().zip(weights.to_f64()?) {
        let sum = &mut sums[*number as usize];
        *sum += weight;
        if dtype == DType::Float {
            *sum = f64::from(*sum as f32);
        }
    }
    out.write_f64(&sums)?;
    Ok(out.into())
}

/// `histc(tensor, bins, min, max)`: how many elements lie in each of so many equal parts of a range.
fn histogram(call: &Call<'_>) -> Result<Value> {
    let (tensor, bins) = (call.tensor(0)?, call.int_or(1, 100)?);
    let (mut low, mut high) = (call.float_or(2, 0.0)?, call.float_or(3, 0.0)?);
    let values = tensor.to_f64()?;
    #[expect(
        clippy::float_cmp,
        reason = "as in PyTorch, an empty range stands for that of the elements"
    )]
    if low == high && !values.is_empty() {
        low = values.iter().copied().fold(f64::INFINITY, f64::min);
        high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low == high {
            (low, high) = (low - 1.0, high + 1.0);
        }
    }
    let range = low.is_finite() && high.is_finite() && low < high;
    if !range || bins < 1 || !tensor.dtype().is_floating_point() {
        return Err(call.wrong(2, "a finite range of floats, and a number of parts"));
    }
    let out = Tensor::zeros(tensor.dtype(), &[bins], MemoryFormat::Contiguous)?;
    let mut counts = vec![0f64; bins as usize];
    let single = tensor.dtype() == DType::Float;
    for x in values.into_iter().filter(|x| (low..=high).contains(x)) {
        // In the tensor's precision.
        let part = if single {
            let (x, low, high) = (x as f32, low as f32, high as f32);
            ((x - low) / (high - low) * bins as f32) as i64
        } else {
            ((x - low) / (high - low) * bins as f64) as i64
        };
        counts[part.clamp(0, bins - 1) as usize] += 1.0;
    }
    out.write_f64(&counts)?;
    Ok(out.into())
}

/// `mode(tensor, dim, keepdim)`: the most frequent element of each row, the smallest of equally frequent ones, and where
/// the last one of its kind stood when they were sorted.
fn mode(call: &Call<'_>) -> Result<Vec<Value>> {
    let tensor = call.tensor(0)?;
    if tensor.rank() == 0 || tensor.numel() == 0 || tensor.dtype().is_quantized() {
        return Err(call.wrong(0, "a tensor with dimensions and elements"));
    }
    let dim = tensor.dim_index(call.int_or(1, -1)?)?;
    let rows = rows(tensor, &[dim], call.bool_or(2, false)?)?;
    let values = Tensor::zeros(tensor.dtype(), &rows.shape, MemoryFormat::Contiguous)?;
    let places = Tensor::zeros(DType::Long, &rows.shape, MemoryFormat::Contiguous)?;
    let all = rows.tensor.to_f64()?;
    let found: Vec<(f64, i64)> = all.chunks_exact(rows.len).map(most_frequent).collect();
    values.write_f64(&found.iter().map(|(value, _)| *value).collect::<Vec<_>>())?;
    places.write_i64(&found.iter().map(|(_, at)| *at).collect::<Vec<_>>())?;
    Ok(vec![values.into(), places.into()])
}

fn most_frequent(row: &[f64]) -> (f64, i64) {
    let mut items: Vec<Item> = row.iter().copied().zip(0..).collect();
    let before = select::order(false);
    select::sort(&mut items, &before);
    let mut runs = items.chunk_by(|a, b| !before(a, b));
    let first = runs.next().unwrap_or_default();
    let most = runs.fold(
        first,
        |most, run| {
            if run.len() > most.len() { run } else { most }
        },
    );
    let last = most.last().map_or(0, |item| item.1);
    (row[last], last as i64)
}

/// `quantile(tensor, q, dim, keepdim, interpolation)`: the elements at shares of each row's order; without a dimension, of all elements.
fn quantile(call: &Call<'_>) -> Result<Value> {
    let (tensor, keep) = (call.tensor(0)?, call.bool_or(3, false)?);
    let shares = match call.get(1) {
        Value::Tensor(shares) => shares.clone(),
        _ => Tensor::scalar(call.float(1)? as f32)?,
    };
    if tensor.dtype() != DType::Float || shares.rank() > 1 || tensor.numel() == 0 {
        return Err(call.wrong(
            0,
            "single-precision numbers, and shares that are a number or a row",
        ));
    }
    let how = match call.get(4) {
        Value::None => "linear",
        _ => call.str(4)?,
    };
    let dims = match call.int_opt(2)? {
        Some(dim) => vec![tensor.dim_index(dim)?],
        None => (0..tensor.rank()).collect(),
    };
    let rows = rows(tensor, &dims, keep)?;
    let skips = call.short_name() == "nanquantile";
    let mut all = rows.tensor.to_f32()?;
    let mut picked = Vec::new();
    for row in all.chunks_exact_mut(rows.len) {
        // What is not a number comes last.
        row.sort_by(|a, b| a.partial_cmp(b).unwrap_or(a.is_nan().cmp(&b.is_nan())));
    }
    let wanted = shares.to_f32()?;
    if wanted.iter().any(|share| !(0.0..=1.0).contains(share)) {
        return Err(call.wrong(1, "shares between 0 and 1"));
    }
    for row in all.chunks_exact(rows.len) {
        let numbers = row.partition_point(|x| !x.is_nan());
        let spoilt = !skips && numbers < row.len();
        let row = if skips { &row[..numbers.max(1)] } else { row };
        let last = (row.len() - 1) as f32;
        for share in &wanted {
            // The last element is not a number where any is not.
            let rank = if spoilt { last } else { share * last };
            let rank = match how {
                "lower" => rank.floor(),
                "higher" => rank.ceil(),
                "nearest" => rank.round_ties_even(),
                "linear" | "midpoint" => rank,
                _ => return Err(call.wrong(4, "a known interpolation")),
            };
            let (low, high) = (row[rank.floor() as usize], row[rank.ceil() as usize]);
            let weight = if how == "midpoint" {
                0.5
            } else {
                rank - rank.floor()
            };
            // Measured from the nearer end.
            picked.push(if weight == 0.0 {
                low
            } else if weight < 0.5 {
                low + weight * (high - low)
            } else {
                high - (high - low) * (1.0 - weight)
            });
        }
    }
    let shape = [&rows.shape[..], &[wanted.len() as i64]].concat();
    let picked = Tensor::from_values(&shape, &picked)?.into();
    // The shares are the first dimension, if they are one.
    let (from, to) = (Value::Int(-1), Value::Int(0));
    if shares.rank() == 1 {
        call.other("aten::movedim.int", &[picked, from, to])
    } else {
        call.other("aten::select.int", &[picked, from, to])
    }
}

/// `nansum(tensor, dims, keepdim, dtype)`
fn nansum(call: &Call<'_>) -> Result<Value> {
    let zeros = call.other(
        "aten::nan_to_num",
        &[
            call.get(0).clone(),
            Value::Float(0.0),
            Value::Float(f64::INFINITY),
            Value::Float(f64::NEG_INFINITY),
        ],
    )?;
    summed(call, zeros)
}

/// `nanmean(tensor, dims, keepdim, dtype)`
fn nanmean(call: &Call<'_>) -> Result<Value> {
    let sum = nansum(call)?;
    let spoilt = call.other("aten::isnan", &[call.get(0).clone()])?;
    let numbers = made(call, "aten::logical_not", &[spoilt])?;
    let counts = summed(call, numbers.into())?;
    call.other("aten::div.Tensor", &[sum, counts])
}

/// The sum of a tensor over this call's dimensions.
fn summed(call: &Call<'_>, tensor: Value) -> Result<Value> {
    if call.is_none(1) && !call.bool_or(2, false)? {
        return call.other("aten::sum", &[tensor, call.get(3).clone()]);
    }
    let dims = call.ints_opt(1)?.unwrap_or_default();
    if dims.is_empty() {
        return Err(Error::Unsupported(format!(
            "{} that keeps all dimensions",
            call.op
        )));
    }
    call.other(
        "aten::sum.dim_IntList",
        &[
            tensor,
            Value::ints(&dims),
            call.get(2).clone(),
            call.get(3).clone(),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{row, run};
    use crate::{Contract, apply};
    use planish_ir::Op;

    #[test]
    fn counts_of_numbers_and_of_parts_of_a_range() {
        let numbers: Value = Tensor::from_values(&[3], &[1i64, 1, 3]).unwrap().into();
        assert_eq!(
            run(
                "aten::bincount",
                &[numbers.clone(), Value::None, Value::Int(6)]
            )
            .to_i64()
            .unwrap(),
            [0, 2, 0, 1, 0, 0]
        );
        let weighted = run("aten::bincount", &[numbers, row(&[0.5, 0.25, 1.0])]);
        assert_eq!(weighted.to_f32().unwrap(), [0.0, 0.75, 0.0, 1.0]);
        let args = [
            row(&[-2.0, -1.0, 0.0, 0.9, 1.0]),
            Value::Int(2),
            Value::Float(-1.0),
            Value::Float(1.0),
        ];
        assert_eq!(run("aten::histc", &args).to_f32().unwrap(), [1.0, 3.0]);
    }

    #[test]
    fn the_most_frequent_is_the_smallest_of_equals_and_the_last_of_its_own() {
        let rows =
            Tensor::from_values(&[2, 5], &[1f32, 2., 2., 1., 3., 5., 4., 4., 5., 5.]).unwrap();
        let out = apply(Op::of("aten::mode"), &[rows.into()], Contract::Fbgemm).unwrap();
        assert_eq!(out[0].as_tensor().unwrap().to_f32().unwrap(), [1., 5.]);
        assert_eq!(out[1].as_tensor().unwrap().to_i64().unwrap(), [3, 4]);
    }

    #[test]
    fn shares_lie_between_elements_and_nothing_spoils_them_that_is_skipped() {
        let x = row(&[3.0, 1.0, f32::NAN, 2.0]);
        let args = [
            x.clone(),
            Value::Float(0.25),
            Value::Int(0),
            false.into(),
            Value::str("linear"),
        ];
        assert!(run("aten::quantile", &args).to_f32().unwrap()[0].is_nan());
        assert_eq!(run("aten::nanquantile", &args).to_f32().unwrap(), [1.5]);
        assert_eq!(run("aten::nanmean", &[x]).to_f32().unwrap(), [2.0]);
    }
}
