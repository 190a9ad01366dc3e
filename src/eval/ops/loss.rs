//! How far a prediction is from its target. Each is the calls that PyTorch puts it together from, or its formula in single precision.

use super::composed::made;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::mse_loss", One(difference)),
    ("aten::l1_loss", One(difference)),
    ("aten::smooth_l1_loss", One(smooth)),
    ("aten::huber_loss", One(huber)),
    ("aten::binary_cross_entropy", One(binary)),
    (
        "aten::binary_cross_entropy_with_logits",
        One(binary_of_logits),
    ),
    ("aten::kl_div", One(divergence)),
    ("aten::soft_margin_loss", One(soft_margin)),
    ("aten::margin_ranking_loss", One(ranking)),
    ("aten::poisson_nll_loss", One(poisson)),
    ("aten::nll_loss", One(likelihood)),
    ("aten::nll_loss2d", One(likelihood)),
    ("aten::nll_loss_nd", One(likelihood)),
    ("aten::nll_loss_forward", Many(likelihood_and_weight)),
    ("aten::nll_loss2d_forward", Many(likelihood_and_weight)),
    ("aten::cross_entropy_loss", One(cross_entropy)),
];

/// What becomes of the losses of single elements.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reduction {
    None,
    Mean,
    Sum,
}

impl Reduction {
    /// A reduction is 0 for none, 1 for the mean, 2 for the sum.
    fn of(call: &Call<'_>, index: usize) -> Result<Self> {
        match call.int_or(index, 1)? {
            0 => Ok(Self::None),
            1 => Ok(Self::Mean),
            2 => Ok(Self::Sum),
            _ => Err(call.wrong(index, "a reduction of 0, 1 or 2")),
        }
    }

    fn apply(self, call: &Call<'_>, each: Value) -> Result<Value> {
        match self {
            Self::None => Ok(each),
            Self::Mean => call.other("aten::mean", &[each, Value::None]),
            Self::Sum => call.other("aten::sum", &[each, Value::None]),
        }
    }
}

/// Calls another operator on values.
macro_rules! other {
    ($call:expr, $op:literal, $($arg:expr),+) => {
        $call.other($op, &[$(Value::from($arg)),+])
    };
}

fn minus(call: &Call<'_>, a: &Value, b: &Value) -> Result<Value> {
    other!(
        call,
        "aten::sub.Tensor",
        a.clone(),
        b.clone(),
        Value::Int(1)
    )
}

/// `mse_loss(a, b, reduction)` and `l1_loss`
fn difference(call: &Call<'_>) -> Result<Value> {
    let apart = minus(call, call.get(0), call.get(1))?;
    let each = if call.short_name() == "mse_loss" {
        other!(call, "aten::square", apart)?
    } else {
        other!(call, "aten::abs", apart)?
    };
    Reduction::of(call, 2)?.apply(call, each)
}

/// `smooth_l1_loss(a, b, reduction, beta)`: squared up to `beta`, straight from there.
fn smooth(call: &Call<'_>) -> Result<Value> {
    let beta = call.float_or(3, 1.0)? as f32;
    piecewise(call, move |z| {
        if z < beta {
            0.5 * z * z / beta
        } else {
            z - 0.5 * beta
        }
    })
}

/// `huber_loss(a, b, reduction, delta)`
fn huber(call: &Call<'_>) -> Result<Value> {
    let delta = call.float_or(3, 1.0)? as f32;
    piecewise(call, move |z| {
        if z < delta {
            0.5 * z * z
        } else {
            delta * (z - 0.5 * delta)
        }
    })
}

/// A function of how far each element is off.
fn piecewise(call: &Call<'_>, f: impl Fn(f32) -> f32) -> Result<Value> {
    let apart = minus(call, call.get(0), call.get(1))?;
    let each = made(call, "aten::abs", &[apart])?;
    each.write_f32(&each.to_f32()?.into_iter().map(f).collect::<Vec<_>>())?;
    Reduction::of(call, 2)?.apply(call, each.into())
}

/// `binary_cross_entropy(input, target, weight, reduction)`: logarithms end at -100.
fn binary(call: &Call<'_>) -> Result<Value> {
    let (input, target) = (call.tensor(0)?, call.tensor(1)?);
    if input.shape() != target.shape() {
        return Err(call.wrong(1, "a target for each element"));
    }
    let (x, y) = (input.to_f32()?, target.to_f32()?);
    if x.iter().any(|x| !(0.0..=1.0).contains(x)) {
        return Err(call.wrong(0, "numbers between 0 and 1"));
    }
    let log = |x: f64| (x.ln() as f32).max(-100.0);
    let each = x.iter().zip(&y).map(|(x, y)| {
        let no = ((-f64::from(*x)).ln_1p() as f32).max(-100.0);
        (y - 1.0) * no - y * log(f64::from(*x))
    });
    let out = super::elementwise::like(input, input.dtype())?;
    out.write_f32(&each.collect::<Vec<_>>())?;
    Reduction::of(call, 3)?.apply(call, weighted(call, out.into(), 2)?)
}

/// Losses times the weights of an argument, if there are any.
fn weighted(call: &Call<'_>, losses: Value, index: usize) -> Result<Value> {
    match call.get(index) {
        Value::None => Ok(losses),
        weight => other!(call, "aten::mul.Tensor", losses, weight.clone()),
    }
}

/// `binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)`
fn binary_of_logits(call: &Call<'_>) -> Result<Value> {
    let (input, target) = (call.get(0), call.get(1));
    let mut log = other!(call, "aten::log_sigmoid", input.clone())?;
    if !call.is_none(3) {
        let more = other!(
            call,
            "aten::sub.Scalar",
            call.get(3).clone(),
            Value::Int(1),
            Value::Int(1)
        )?;
        let factor = other!(call, "aten::mul.Tensor", more, target.clone())?;
        let factor = other!(
            call,
            "aten::add.Scalar",
            factor,
            Value::Int(1),
            Value::Int(1)
        )?;
        log = other!(call, "aten::mul.Tensor", log, factor)?;
    }
    let rest = other!(
        call,
        "aten::rsub.Scalar",
        target.clone(),
        Value::Int(1),
        Value::Int(1)
    )?;
    let losses = other!(call, "aten::mul.Tensor", rest, input.clone())?;
    let losses = weighted(call, minus(call, &losses, &log)?, 2)?;
    Reduction::of(call, 4)?.apply(call, losses)
}

/// `kl_div(input, target, reduction, log_target)`
fn divergence(call: &Call<'_>) -> Result<Value> {
    let (input, target) = (call.get(0), call.get(1));
    let each = if call.bool_or(3, false)? {
        let weight = other!(call, "aten::exp", target.clone())?;
        other!(
            call,
            "aten::mul.Tensor",
            weight,
            minus(call, target, input)?
        )?
    } else {
        let own = other!(call, "aten::xlogy.Tensor", target.clone(), target.clone())?;
        minus(
            call,
            &own,
            &other!(call, "aten::mul.Tensor", target.clone(), input.clone())?,
        )?
    };
    Reduction::of(call, 2)?.apply(call, each)
}

/// `soft_margin_loss(input, target, reduction)`
fn soft_margin(call: &Call<'_>) -> Result<Value> {
    let negative = other!(call, "aten::neg", call.get(0).clone())?;
    let product = other!(call, "aten::mul.Tensor", negative, call.get(1).clone())?;
    let each = other!(call, "aten::exp", product)?;
    let each = other!(call, "aten::log1p", each)?;
    Reduction::of(call, 2)?.apply(call, each)
}

/// `margin_ranking_loss(a, b, target, margin, reduction)`
fn ranking(call: &Call<'_>) -> Result<Value> {
    let negative = other!(call, "aten::neg", call.get(2).clone())?;
    let order = other!(
        call,
        "aten::mul.Tensor",
        negative,
        minus(call, call.get(0), call.get(1))?
    )?;
    let margin = Value::Float(call.float_or(3, 0.0)?);
    let each = other!(call, "aten::add.Scalar", order, margin, Value::Int(1))?;
    let each = other!(call, "aten::clamp_min", each, Value::Int(0))?;
    Reduction::of(call, 4)?.apply(call, each)
}

/// `poisson_nll_loss(input, target, log_input, full, eps, reduction)`
fn poisson(call: &Call<'_>) -> Result<Value> {
    if call.bool_or(3, false)? {
        return Err(call.unsupported("with Stirling's approximation"));
    }
    let (input, target) = (call.get(0), call.get(1));
    let each = if call.bool_or(2, true)? {
        let product = other!(call, "aten::mul.Tensor", target.clone(), input.clone())?;
        minus(call, &other!(call, "aten::exp", input.clone())?, &product)?
    } else {
        let eps = Value::Float(call.float_or(4, 1e-8)?);
        let log = other!(call, "aten::add.Scalar", input.clone(), eps, Value::Int(1))?;
        let log = other!(call, "aten::log", log)?;
        minus(
            call,
            input,
            &other!(call, "aten::mul.Tensor", target.clone(), log)?,
        )?
    };
    Reduction::of(call, 5)?.apply(call, each)
}

/// `nll_loss(input, target, weight, reduction, ignore_index)`
fn likelihood(call: &Call<'_>) -> Result<Value> {
    Ok(likelihood_and_weight(call)?.swap_remove(0))
}

/// The loss, and the sum of the weights that it has.
fn likelihood_and_weight(call: &Call<'_>) -> Result<Vec<Value>> {
    let (loss, weight) = negative_log(call, call.tensor(0)?, 2, 3, 4)?;
    Ok(vec![loss, weight])
}

/// The negative of each row's element that the target names, times its class's weight.
fn negative_log(
    call: &Call<'_>,
    input: &Tensor,
    weight: usize,
    reduction: usize,
    ignored: usize,
) -> Result<(Value, Value)> {
    let target = call.tensor(1)?;
    let dim = usize::from(input.rank() > 1);
    let classes = *input
        .shape()
        .get(dim)
        .ok_or_else(|| call.wrong(0, "scores of classes"))?;
    let mut shape = input.shape().to_vec();
    shape.remove(dim);
    if target.shape() != &shape[..] || target.dtype().is_floating_point() {
        return Err(call.wrong(1, "a class for each row of scores"));
    }
    let weights = match call.tensor_opt(weight)? {
        Some(weights) if weights.numel() as i64 == classes => Some(weights.to_f32()?),
        Some(_) => return Err(call.wrong(weight, "one weight for each class")),
        None => None,
    };
    let ignored = call.int_or(ignored, -100)?;
    let scores = input.transpose(dim, input.rank() - 1)?;
    // The dimension of classes goes last, and the others keep their order.
    let order: Vec<usize> = (0..input.rank())
        .filter(|at| *at != dim)
        .chain([dim])
        .collect();
    let scores = if input.rank() > 2 {
        input.permute(&order)?
    } else {
        scores
    }
    .to_f32()?;
    let mut each = Vec::with_capacity(target.numel());
    let mut sums = [Cascade::new(target.numel()), Cascade::new(target.numel())];
    for (row, class) in scores
        .chunks_exact(classes.max(1) as usize)
        .zip(target.to_i64()?)
    {
        if class == ignored {
            each.push(0.0);
            for sum in &mut sums {
                sum.add(0.0);
            }
            continue;
        }
        if !(0..classes).contains(&class) {
            return Err(Error::Invalid(format!(
                "class {class} is none of {classes}"
            )));
        }
        let weight = weights
            .as_ref()
            .map_or(1.0, |weights| weights[class as usize]);
        each.push(-row[class as usize] * weight);
        sums[0].add(-row[class as usize] * weight);
        sums[1].add(weight);
    }
    let [sum, total] = sums.map(Cascade::total);
    let scalar = |value: f32| Tensor::scalar(value).map(Value::from);
    let loss = match Reduction::of(call, reduction)? {
        Reduction::None => {
            let out = Tensor::zeros(input.dtype(), &shape, MemoryFormat::Contiguous)?;
            out.write_f32(&each)?;
            return Ok((out.into(), scalar(0.0)?));
        }
        Reduction::Sum => sum,
        Reduction::Mean => sum / total,
    };
    Ok((scalar(loss)?, scalar(total)?))
}

/// A sum in eight levels: what one level has summed over a power of two of elements goes to the next, so that errors stay small.
struct Cascade {
    levels: [f32; 8],
    power: u32,
    count: usize,
}

impl Cascade {
    fn new(elements: usize) -> Self {
        let digits = usize::BITS - elements.max(1).saturating_sub(1).leading_zeros();
        Self {
            levels: [0.0; 8],
            power: (digits / 8).max(4),
            count: 0,
        }
    }

    fn add(&mut self, value: f32) {
        self.levels[0] += value;
        for level in 0..7 {
            let mask = ((1usize << self.power) - 1) << (level * self.power as usize);
            if self.count & mask != 0 {
                break;
            }
            self.levels[level + 1] += self.levels[level];
            self.levels[level] = 0.0;
        }
        self.count += 1;
    }

    fn total(self) -> f32 {
        self.levels.iter().fold(0.0, |sum, level| sum + level)
    }
}

/// `cross_entropy_loss(input, target, weight, reduction, ignore_index, label_smoothing)`; targets are classes, or their probabilities.
fn cross_entropy(call: &Call<'_>) -> Result<Value> {
    let (input, target) = (call.tensor(0)?, call.tensor(1)?);
    let smoothing = call.float_or(5, 0.0)?;
    let dim = usize::from(input.rank() > 1);
    let args = [input.clone().into(), Value::Int(dim as i64), Value::None];
    let log = made(call, "aten::log_softmax.int", &args)?;
    if smoothing != 0.0 {
        return Err(call.unsupported("with smoothed labels"));
    }
    if input.shape() != target.shape() || !target.dtype().is_floating_point() {
        return Ok(negative_log(call, &log, 2, 3, 4)?.0);
    }
    if !call.is_none(2) {
        return Err(call.unsupported("with weights of classes and probabilities as targets"));
    }
    let product = other!(call, "aten::mul.Tensor", log, target.clone())?;
    let classes = input.shape().get(dim).copied().unwrap_or(1).max(1);
    let negative = |sum: Value| other!(call, "aten::neg", sum);
    match Reduction::of(call, 3)? {
        Reduction::Sum => negative(Reduction::Sum.apply(call, product)?),
        Reduction::Mean => {
            let sum = negative(Reduction::Sum.apply(call, product)?)?;
            let rows = (input.numel() as i64 / classes).max(1);
            other!(call, "aten::div.Scalar", sum, Value::Int(rows))
        }
        Reduction::None => {
            let dims = Value::ints(&[dim as i64]);
            negative(call.other(
                "aten::sum.dim_IntList",
                &[product, dims, false.into(), Value::None],
            )?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{row, run};

    #[test]
    fn small_differences_are_squared_and_large_ones_are_not() {
        let (a, b) = (row(&[0.5, 3.0]), row(&[0.0, 0.0]));
        let each = |op| {
            run(
                op,
                &[a.clone(), b.clone(), Value::Int(0), Value::Float(2.0)],
            )
            .to_f32()
            .unwrap()
        };
        assert_eq!(each("aten::smooth_l1_loss"), [0.0625, 2.0]);
        assert_eq!(each("aten::huber_loss"), [0.125, 4.0]);
    }

    #[test]
    fn classes_are_weighted_or_ignored() {
        let scores = Tensor::from_values(&[3, 2], &[-1f32, -2., -3., -4., -5., -6.]).unwrap();
        let target: Value = Tensor::from_values(&[3], &[1i64, 0, -100]).unwrap().into();
        let args = |reduction| {
            [
                scores.clone().into(),
                target.clone(),
                row(&[1.0, 3.0]),
                Value::Int(reduction),
                Value::Int(-100),
            ]
        };
        assert_eq!(
            run("aten::nll_loss_nd", &args(0)).to_f32().unwrap(),
            [6.0, 3.0, 0.0]
        );
        assert_eq!(
            run("aten::nll_loss_nd", &args(1)).to_f32().unwrap(),
            [9.0 / 4.0]
        );
        assert_eq!(run("aten::nll_loss_nd", &args(2)).to_f32().unwrap(), [9.0]);
    }
}
