//! Tables of embeddings in codes: every row has its own scale and bias, `code * scale + bias`.
//!
//! A table comes as a tensor of bytes, one row after the other: the codes (2 or 4 in a byte, the first in the low bits, when they are
//! short), then the row's scale and bias, as `Float` for codes of a byte and as `Half` for shorter ones. Or it comes as a packed weight,
//! which has zero points instead of biases.

use std::sync::Arc;

use half::f16;
use planish_ir::{DType, Dims, PackedKind, PackedParams, QParams};

use crate::call::Call;
use crate::ops::{Kernel, Table};
use crate::{Result, Tensor, Value};
use Kernel::{Many, One};

pub(in crate::ops) const OPS: Table = &[
    ("quantized::embedding_bag_byte_prepack", One(prepack_bytes)),
    (
        "quantized::embedding_bag_byte_prepack_with_rowwise_min_max",
        One(prepack_bytes),
    ),
    ("quantized::embedding_bag_4bit_prepack", One(prepack_bits)),
    (
        "quantized::embedding_bag_4bit_prepack_with_rowwise_min_max",
        One(prepack_bits),
    ),
    ("quantized::embedding_bag_2bit_prepack", One(prepack_bits)),
    (
        "quantized::embedding_bag_2bit_prepack_with_rowwise_min_max",
        One(prepack_bits),
    ),
    ("quantized::embedding_bag_byte_unpack", One(unpack_rows)),
    ("quantized::embedding_bag_4bit_unpack", One(unpack_rows)),
    ("quantized::embedding_bag_2bit_unpack", One(unpack_rows)),
    (
        "quantized::embedding_bag_byte_rowwise_offsets",
        One(bag_of_rows),
    ),
    (
        "quantized::embedding_bag_4bit_rowwise_offsets",
        One(bag_of_rows),
    ),
    (
        "quantized::embedding_bag_2bit_rowwise_offsets",
        One(bag_of_rows),
    ),
    ("quantized::embedding_bag_prepack", One(prepack)),
    ("quantized::embedding_bag_unpack", One(unpack)),
    ("quantized::embedding_bag_byte", One(bag_of_packed)),
    ("quantized::embedding_bag_4bit", One(bag_of_packed)),
    ("quantized::embedding_byte", One(embedding)),
    ("quantized::embedding_4bit", One(embedding)),
    ("aten::choose_qparams_optimized", Many(choose_optimized)),
];

/// What keeps the range of a row of equal values from being a divisor of zero.
const SMALL_RANGE: f32 = 1e-8;

/// Rows of codes with their scales and biases.
struct Rows {
    codes: Vec<u8>,
    columns: usize,
    scales: Vec<f32>,
    biases: Vec<f32>,
}

/// How many bits the codes of the operator's table have.
fn bits(call: &Call<'_>) -> u32 {
    match call.short_name() {
        name if name.contains("4bit") => 4,
        name if name.contains("2bit") => 2,
        _ => 8,
    }
}

impl Rows {
    /// The table in a tensor of bytes.
    fn of_bytes(call: &Call<'_>) -> Result<Self> {
        let (tensor, bits) = (call.tensor(0)?, bits(call));
        let tail = if bits == 8 { 8 } else { 4 };
        let width = tensor.shape().last().map_or(0, |width| *width as usize);
        if tensor.dtype() != DType::Byte || tensor.rank() < 2 || width < tail {
            return Err(call.wrong(0, "rows of bytes that end with a scale and a bias"));
        }
        let each = (8 / bits) as usize;
        let columns = (width - tail) * each;
        call.work(tensor.numel().saturating_mul(each))?;
        let bytes = tensor.values::<u8>()?;
        let count = bytes.len() / width;
        let mut rows = Self {
            codes: Vec::with_capacity(count * columns),
            columns,
            scales: Vec::with_capacity(count),
            biases: Vec::with_capacity(count),
        };
        for row in bytes.chunks_exact(width) {
            let (codes, tail) = row.split_at(width - tail);
            let (scale, bias) = tail.split_at(tail.len() / 2);
            rows.scales.push(number(scale));
            rows.biases.push(number(bias));
            for byte in codes {
                let code = |at: u32| byte >> (at * bits) & u8::MAX >> (8 - bits);
                rows.codes.extend((0..8 / bits).map(code));
            }
        }
        Ok(rows)
    }

    /// The table in a packed weight. Short codes have scales and biases of half precision.
    fn of_packed(call: &Call<'_>) -> Result<Self> {
        let weight = &packed(call)?.weight;
        let short = weight.dtype() == DType::QUInt4x2;
        let fits = short == (bits(call) == 4);
        let (
            [_, columns],
            true,
            Some(QParams::PerChannelFloat {
                scales,
                zero_points,
                axis: 0,
            }),
        ) = (weight.shape(), fits, weight.qparams())
        else {
            return Err(call.wrong(0, "a table of codes of this size"));
        };
        let kept = |value: f32| {
            if short {
                f16::from_f32(value).to_f32()
            } else {
                value
            }
        };
        let biases = scales
            .iter()
            .zip(&zero_points[..])
            .map(|(scale, zero)| kept(-(zero * scale)));
        Ok(Self {
            columns: *columns as usize,
            biases: biases.collect(),
            scales: scales.iter().map(|scale| kept(*scale)).collect(),
            codes: Tensor::from(weight).elements()?,
        })
    }

    fn row(&self, at: usize) -> &[u8] {
        &self.codes[at * self.columns..(at + 1) * self.columns]
    }

    /// Adds `weight` times a row to `sum`: the bias first, the product in one rounding with its sum.
    fn add(&self, at: usize, weight: f32, sum: &mut [f32]) {
        let (scale, bias) = (weight * self.scales[at], weight * self.biases[at]);
        for (sum, code) in sum.iter_mut().zip(self.row(at)) {
            *sum = scale.mul_add(f32::from(*code), *sum + bias);
        }
    }
}

/// A number of 2 or 4 bytes.
fn number(bytes: &[u8]) -> f32 {
    match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    }
}

fn packed<'a>(call: &Call<'a>) -> Result<&'a PackedParams> {
    let packed = call.packed(0)?;
    match packed.kind {
        PackedKind::Embedding => Ok(packed),
        _ => Err(call.wrong(0, "a packed table of embeddings")),
    }
}

/// `embedding_bag_prepack(weight)`
fn prepack(call: &Call<'_>) -> Result<Value> {
    let weight = call.tensor(0)?;
    let rows = matches!(
        weight.qparams(),
        Some(QParams::PerChannelFloat { axis: 0, .. })
    );
    if weight.rank() != 2 || !rows || !matches!(weight.dtype(), DType::QUInt8 | DType::QUInt4x2) {
        return Err(call.wrong(0, "a table of codes with a float zero point for each row"));
    }
    if weight.dtype() == DType::QUInt4x2 && weight.shape()[1] % 2 != 0 {
        return Err(call.unsupported("with rows of an odd number of short codes"));
    }
    Ok(Value::Packed(Arc::new(PackedParams {
        kind: PackedKind::Embedding,
        weight: weight.to_ir()?,
        bias: None,
    })))
}

fn unpack(call: &Call<'_>) -> Result<Value> {
    Ok(Tensor::from(&packed(call)?.weight).into())
}

/// The table as floats, its leading dimensions kept.
fn unpack_rows(call: &Call<'_>) -> Result<Value> {
    let rows = Rows::of_bytes(call)?;
    let mut values = vec![0.0; rows.codes.len()];
    if rows.columns > 0 {
        for (at, row) in values.chunks_exact_mut(rows.columns).enumerate() {
            rows.add(at, 1.0, row);
        }
    }
    let mut shape = Dims::from(call.tensor(0)?.shape());
    if let Some(last) = shape.last_mut() {
        *last = rows.columns as i64;
    }
    Ok(Tensor::from_values(&shape, &values)?.into())
}

/// Smallest and largest value of each row: those that are given, or the row's own.
fn ranges(call: &Call<'_>, values: &[f32], columns: usize) -> Result<Vec<(f32, f32)>> {
    if !call.short_name().ends_with("min_max") {
        let own = |row: &[f32]| {
            let low = row.iter().copied().fold(f32::INFINITY, f32::min);
            (low, row.iter().copied().fold(f32::NEG_INFINITY, f32::max))
        };
        return Ok(values.chunks_exact(columns).map(own).collect());
    }
    let given = call.tensor(1)?;
    if given.shape() != [(values.len() / columns) as i64, 2] {
        return Err(call.wrong(1, "a smallest and a largest value for each row"));
    }
    let given = given.to_f32()?;
    Ok(given.chunks_exact(2).map(|row| (row[0], row[1])).collect())
}

/// The float table to pack, and its columns.
fn floats(call: &Call<'_>) -> Result<(Vec<f32>, usize)> {
    let weight = call.tensor(0)?;
    let columns = weight.shape().last().map_or(0, |size| *size as usize);
    let fits = matches!(weight.dtype(), DType::Float | DType::Half);
    if !fits || columns == 0 || weight.rank() < 2 {
        return Err(call.wrong(0, "a table of floats"));
    }
    Ok((weight.to_f32()?, columns))
}

/// `embedding_bag_byte_prepack(weight)`
fn prepack_bytes(call: &Call<'_>) -> Result<Value> {
    let (values, columns) = floats(call)?;
    let mut bytes = Vec::with_capacity(values.len() + 8 * values.len() / columns);
    let ranges = ranges(call, &values, columns)?;
    for (row, (low, high)) in values.chunks_exact(columns).zip(ranges) {
        let range = high - low;
        let inverse = 255.0 / (range + SMALL_RANGE);
        // A value outside a given range wraps.
        let code = |value: &f32| ((value - low) * inverse).round_ties_even() as i64 as u8;
        bytes.extend(row.iter().map(code));
        bytes.extend((range / 255.0).to_le_bytes());
        bytes.extend(low.to_le_bytes());
    }
    let mut shape = Dims::from(call.tensor(0)?.shape());
    if let Some(last) = shape.last_mut() {
        *last += 8;
    }
    Ok(Tensor::from_values(&shape, &bytes)?.into())
}

/// `embedding_bag_4bit_prepack(weight, optimized_qparams, nbins, ratio)`; smallest and largest values may stand after the weight.
fn prepack_bits(call: &Call<'_>) -> Result<Value> {
    let (values, columns) = floats(call)?;
    let (bits, given) = (
        bits(call),
        usize::from(call.short_name().ends_with("min_max")),
    );
    let each = (8 / bits) as usize;
    if call.tensor(0)?.rank() != 2 || columns % each != 0 {
        return Err(call.wrong(0, "a matrix of rows that fill whole bytes"));
    }
    let ranges = if call.bool_or(1 + given, false)? {
        let search = Search::new(call, 2 + given, bits)?;
        let row = |row| search.range(call, row);
        values
            .chunks_exact(columns)
            .map(row)
            .collect::<Result<_>>()?
    } else {
        ranges(call, &values, columns)?
    };
    let most = f32::from(u8::MAX >> (8 - bits));
    let mut bytes = Vec::with_capacity(values.len() / each + 4 * ranges.len());
    for (row, (low, high)) in values.chunks_exact(columns).zip(ranges) {
        let (low, mut scale) = coarse(low, high, most);
        let mut inverse = 1.0 / scale;
        if scale == 0.0 || inverse.is_infinite() {
            (scale, inverse) = (1.0, 1.0);
        }
        let code = |value: &f32| ((value - low) * inverse).round_ties_even().clamp(0.0, most) as u8;
        for codes in row.chunks_exact(each) {
            let places = codes.iter().zip(0u32..);
            bytes.push(places.fold(0, |byte, (value, at)| byte | code(value) << (at * bits)));
        }
        bytes.extend(f16::from_f32(scale).to_le_bytes());
        bytes.extend(f16::from_f32(low).to_le_bytes());
    }
    let width = columns / each + 4;
    Ok(Tensor::from_values(&[(values.len() / columns) as i64, width as i64], &bytes)?.into())
}

/// Bias and scale of a range, both of half precision, for codes up to `most`.
fn coarse(low: f32, high: f32, most: f32) -> (f32, f32) {
    let low = f16::from_f32(low).to_f32();
    let range = high - low;
    if range == 0.0 {
        return (low, 1.0);
    }
    (low, f16::from_f32(range / most).to_f32())
}

/// The search for the range of a row that loses least: it is narrowed step by step, on the side where less is lost.
struct Search {
    steps: i64,
    /// Share of the range that may be cut off.
    ratio: f64,
    most: f32,
}

impl Search {
    /// The number of steps and the ratio stand at `first`.
    fn new(call: &Call<'_>, first: usize, bits: u32) -> Result<Self> {
        let (steps, ratio) = (call.int_or(first, 200)?, call.float_or(first + 1, 0.16)?);
        if steps < 1 || !(1..=8).contains(&bits) {
            return Err(call.wrong(first, "a number of steps"));
        }
        Ok(Self {
            steps,
            ratio: f64::from(ratio as f32),
            most: f32::from(u8::MAX >> (8 - bits)),
        })
    }

    fn range(&self, call: &Call<'_>, row: &[f32]) -> Result<(f32, f32)> {
        let mut low = row.iter().copied().fold(f32::INFINITY, f32::min);
        let mut high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let step = (high - low) / self.steps as f32;
        let least = (self.steps as f64 * (1.0 - self.ratio)) as i64 as f32 * step;
        let (mut found, mut best) = ((low, high), self.loss(row, low, high));
        let mut loss = best;
        while low + least < high {
            call.work(2 * row.len() + 1)?;
            let (left, right) = (
                self.loss(row, low + step, high),
                self.loss(row, low, high - step),
            );
            if loss < left && loss < right && loss < best {
                (best, found) = (loss, (low, high));
            }
            if left < right {
                (low, loss) = (low + step, left);
            } else {
                (high, loss) = (high - step, right);
            }
        }
        Ok(found)
    }

    /// What a row loses by codes over a range.
    fn loss(&self, row: &[f32], low: f32, high: f32) -> f32 {
        let (low, scale) = coarse(low, high, self.most);
        let inverse = if scale == 0.0 { 1.0 } else { 1.0 / scale };
        let mut sum = 0f32;
        for value in row {
            let code = ((value - low) * inverse).round_ties_even();
            let lost = value - (code.min(self.most).max(0.0) * scale + low);
            sum += lost * lost;
        }
        sum.sqrt()
    }
}

/// `choose_qparams_optimized(input, numel, n_bins, ratio, bit_width)`: largest and smallest value of the best range.
fn choose_optimized(call: &Call<'_>) -> Result<Vec<Value>> {
    let values = call.tensor(0)?.to_f32()?;
    let count = usize::try_from(call.int(1)?).ok();
    let Some(row) = count
        .filter(|count| *count > 0)
        .and_then(|count| values.get(..count))
    else {
        return Err(call.wrong(1, "a number of elements"));
    };
    let search = Search::new(call, 2, u32::try_from(call.int(4)?).unwrap_or(0))?;
    let (low, high) = search.range(call, row)?;
    let [high, low] = [high, low].map(|value| Tensor::from_values(&[1], &[value]));
    Ok(vec![high?.into(), low?.into()])
}

/// `embedding_bag_byte_rowwise_offsets(weight, indices, offsets, …)`
fn bag_of_rows(call: &Call<'_>) -> Result<Value> {
    if call.tensor(0)?.rank() != 2 {
        return Err(call.wrong(0, "a matrix of bytes"));
    }
    bag(call, &Rows::of_bytes(call)?)
}

fn bag_of_packed(call: &Call<'_>) -> Result<Value> {
    bag(call, &Rows::of_packed(call)?)
}

/// `(…, indices, offsets, scale_grad_by_freq, mode, pruned_weights, per_sample_weights, compressed_indices_mapping, include_last_offset)`:
/// sums of rows. PyTorch ignores the mode; only the sum is meant by 0.
fn bag(call: &Call<'_>, rows: &Rows) -> Result<Value> {
    if call.int_or(4, 0)? != 0 {
        return Err(call.unsupported("in another mode than the sum"));
    }
    let indices = call.tensor(1)?;
    let picked = picked(call, rows, indices)?;
    let weights = match call.tensor_opt(6)? {
        Some(weights) if weights.numel() == picked.len() => Some(weights.to_f32()?),
        Some(_) => return Err(call.wrong(6, "one weight for each index")),
        None => None,
    };
    let mut ends: Vec<i64> = match (indices.shape(), call.tensor_opt(2)?) {
        ([_], Some(offsets)) if offsets.rank() == 1 => offsets.to_i64()?,
        ([bags, each], None) => (0..*bags).map(|bag| bag * each).collect(),
        _ => return Err(call.wrong(2, "offsets for a list of indices, none for a matrix")),
    };
    if !call.bool_or(8, false)? {
        ends.push(picked.len() as i64);
    }
    let inside = |end: &i64| (0..=picked.len() as i64).contains(end);
    if !ends.is_sorted() || !ends.iter().all(inside) {
        return Err(call.wrong(2, "offsets that rise to the number of indices at most"));
    }
    let bags = ends.len().saturating_sub(1);
    call.work(
        picked
            .len()
            .saturating_add(bags)
            .saturating_mul(rows.columns),
    )?;
    let shape = [bags as i64, rows.columns as i64];
    let out = Tensor::zeros(DType::Float, &shape, crate::MemoryFormat::Contiguous)?;
    let mut sums = vec![0f32; out.numel()];
    for (at, ends) in ends.windows(2).enumerate() {
        let sum = &mut sums[at * rows.columns..(at + 1) * rows.columns];
        for index in ends[0] as usize..ends[1] as usize {
            if let Some(row) = picked[index] {
                let weight = weights.as_ref().map_or(1.0, |weights| weights[index]);
                rows.add(row, weight, sum);
            }
        }
    }
    out.write_f32(&sums)?;
    Ok(out.into())
}

/// The rows that indices mean; `None` for those that were pruned.
fn picked(call: &Call<'_>, rows: &Rows, indices: &Tensor) -> Result<Vec<Option<usize>>> {
    let mapping = if call.bool_or(5, false)? {
        Some(call.tensor(7)?.to_i64()?)
    } else {
        None
    };
    // A mapping of one entry stands for none: nothing was pruned.
    let mapping = mapping.filter(|mapping| mapping.len() != 1);
    let row = |index: i64| -> Option<Option<usize>> {
        let mut at = usize::try_from(index).ok()?;
        if let Some(mapping) = &mapping {
            match mapping.get(at)? {
                -1 => return Some(None),
                mapped => at = usize::try_from(*mapped).ok()?,
            }
        }
        (at < rows.scales.len()).then_some(Some(at))
    };
    let picked: Option<Vec<_>> = indices.to_i64()?.into_iter().map(row).collect();
    picked.ok_or_else(|| call.wrong(1, "rows of the table"))
}

/// `embedding_byte(weight, indices, pruned_weights)`: each row on its own.
fn embedding(call: &Call<'_>) -> Result<Value> {
    let (rows, indices) = (Rows::of_packed(call)?, call.tensor(1)?);
    if !matches!(indices.rank(), 1 | 2) {
        return Err(call.wrong(1, "a list or a matrix of indices"));
    }
    if call.bool_or(2, false)? {
        return Err(call.unsupported("of a pruned table, for which it takes no mapping"));
    }
    let mut shape = Dims::from(indices.shape());
    shape.push(rows.columns as i64);
    let out = Tensor::zeros(DType::Float, &shape, crate::MemoryFormat::Contiguous)?;
    let mut values = vec![0f32; out.numel()];
    let wanted = picked(call, &rows, indices)?;
    for (at, row) in wanted.into_iter().flatten().enumerate() {
        let to = &mut values[at * rows.columns..(at + 1) * rows.columns];
        rows.add(row, 1.0, to);
    }
    out.write_f32(&values)?;
    Ok(out.into())
}
