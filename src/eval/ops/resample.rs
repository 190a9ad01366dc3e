//! Images of other sizes without aliasing: each pixel of the result is a weighted mean of all that it covers.

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::_upsample_bilinear2d_aa", One(bilinear)),
    ("aten::_upsample_bicubic2d_aa", One(bicubic)),
];

/// `_upsample_bilinear2d_aa(image, sizes, align_corners, scale_h, scale_w)`, or with a list of factors
fn bilinear(call: &Call<'_>) -> Result<Value> {
    resample(call, 1.0, |x| if x < 1.0 { 1.0 - x } else { 0.0 })
}

fn bicubic(call: &Call<'_>) -> Result<Value> {
    /// The steepness of the cubic, as image libraries have it.
    const A: f32 = -0.5;
    resample(call, 2.0, |x| {
        if x < 1.0 {
            ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
        } else if x < 2.0 {
            (((x - 5.0) * x + 8.0) * x - 4.0) * A
        } else {
            0.0
        }
    })
}

/// Resamples rows, then columns, by a filter that reaches so far and takes a distance.
fn resample(call: &Call<'_>, reach: f32, filter: impl Fn(f32) -> f32) -> Result<Value> {
    let image = call.tensor(0)?;
    let &[n, c, height, width] = image.shape() else {
        return Err(call.wrong(0, "a batch of images"));
    };
    let factors = match call.get(3) {
        Value::List(_) => call
            .floats_opt(3)?
            .unwrap_or_default()
            .into_iter()
            .map(Some)
            .collect(),
        _ => vec![call.float_opt(3)?, call.float_opt(4)?],
    };
    let factor = |at: usize| {
        factors
            .get(at)
            .copied()
            .flatten()
            .filter(|factor| *factor > 0.0)
    };
    let sizes = match (call.ints_opt(1)?, factor(0), factor(1)) {
        (Some(sizes), ..) => sizes,
        (None, Some(high), Some(wide)) => {
            vec![(height as f64 * high) as i64, (width as f64 * wide) as i64]
        }
        _ => return Err(call.wrong(1, "sizes or factors")),
    };
    let &[high, wide] = &sizes[..] else {
        return Err(call.wrong(1, "a height and a width"));
    };
    if high < 1 || wide < 1 || image.numel() == 0 || !image.dtype().is_floating_point() {
        return Err(call.wrong(1, "positive sizes, for an image of floats"));
    }
    let out = Tensor::zeros(image.dtype(), &[n, c, high, wide], image.memory_format())?;
    call.work(high.saturating_add(wide))?;
    let corners = call.bool(2)?;
    let rows = Axis::new(width, wide, corners, factor(1), reach, &filter);
    let columns = Axis::new(height, high, corners, factor(0), reach, &filter);
    call.work(
        n.saturating_mul(c)
            .saturating_mul(rows.taps.saturating_mul(height) + columns.taps.saturating_mul(wide)),
    )?;
    let narrow = rows.along(&image.to_f32()?, 1);
    out.write_f32(&columns.along(&narrow, wide as usize))?;
    Ok(out.into())
}

/// One dimension: for each place of the result the first place that it covers, and the weights from there on.
struct Axis {
    input: usize,
    spans: Vec<(usize, Vec<f32>)>,
    taps: i64,
}

impl Axis {
    fn new(
        input: i64,
        output: i64,
        corners: bool,
        factor: Option<f64>,
        reach: f32,
        filter: &impl Fn(f32) -> f32,
    ) -> Self {
        let scale = match factor {
            _ if corners && output > 1 => (input - 1) as f32 / (output - 1) as f32,
            _ if corners => 0.0,
            Some(factor) => (1.0 / factor) as f32,
            None => input as f32 / output as f32,
        };
        let support = if scale >= 1.0 { reach * scale } else { reach };
        let shrink = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
        let spans = (0..output).map(|at| {
            let center = scale * (at as f32 + 0.5);
            let first = ((center - support + 0.5) as i64).max(0);
            let end = ((center + support + 0.5) as i64).min(input);
            let weights = (first..end).map(|x| filter(((x as f32 - center + 0.5) * shrink).abs()));
            let weights: Vec<f32> = weights.collect();
            let total: f32 = weights.iter().sum();
            let share = |weight: f32| if total == 0.0 { weight } else { weight / total };
            (
                first as usize,
                weights.into_iter().map(share).collect::<Vec<f32>>(),
            )
        });
        let spans: Vec<_> = spans.collect();
        Self {
            input: input as usize,
            taps: spans.iter().map(|(_, weights)| weights.len() as i64).sum(),
            spans,
        }
    }

    /// Resamples a dimension whose elements lie `step` apart.
    fn along(&self, values: &[f32], step: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(values.len() / self.input * self.spans.len());
        for block in values.chunks_exact(self.input * step) {
            for (first, weights) in &self.spans {
                for at in 0..step {
                    let taken = block[first * step + at..].iter().step_by(step);
                    let sum = taken
                        .zip(weights)
                        .fold(0f32, |sum, (x, weight)| x.mul_add(*weight, sum));
                    out.push(sum);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn half_the_size_is_a_mean_of_all_that_is_near() {
        let args = [
            counting(&[1, 1, 1, 4]).into(),
            Value::ints(&[1, 2]),
            false.into(),
        ];
        let half = run("aten::_upsample_bilinear2d_aa", &args)
            .to_f32()
            .unwrap();
        // Weights 3/7, 3/7, 1/7 of 0, 1, 2, and the same from the other end.
        assert!(
            (half[0] - 5.0 / 7.0).abs() < 1e-6 && (half[1] - 16.0 / 7.0).abs() < 1e-6,
            "{half:?}"
        );
        let same = run(
            "aten::_upsample_bicubic2d_aa",
            &[
                counting(&[1, 1, 2, 2]).into(),
                Value::ints(&[2, 2]),
                false.into(),
            ],
        );
        assert_eq!(same.to_f32().unwrap(), [0., 1., 2., 3.]);
    }
}
