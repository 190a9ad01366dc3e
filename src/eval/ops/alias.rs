//! Operators that mean what another one means: other names, and forms that write to their first argument.

use planish_ir::Op;

use super::join::convert_into;
use super::quantized::unary::overwrite;
use super::{Kernel, kernel, out};
use crate::{Error, Result, Tensor, Value};

/// Other names of operators, in all overloads.
const NAMES: &[(&str, &str)] = &[
    ("aten::_adaptive_avg_pool2d", "aten::adaptive_avg_pool2d"),
    ("aten::_adaptive_avg_pool3d", "aten::adaptive_avg_pool3d"),
    ("aten::_prelu_kernel", "aten::prelu"),
    ("aten::_safe_softmax", "aten::softmax"),
    ("aten::_unsafe_index", "aten::index"),
    ("aten::_unsafe_index_put", "aten::index_put"),
    ("aten::_unsafe_view", "aten::reshape"),
    ("aten::absolute", "aten::abs"),
    ("aten::arccos", "aten::acos"),
    ("aten::arccosh", "aten::acosh"),
    ("aten::arcsin", "aten::asin"),
    ("aten::arcsinh", "aten::asinh"),
    ("aten::arctan", "aten::atan"),
    ("aten::arctan2", "aten::atan2"),
    ("aten::arctanh", "aten::atanh"),
    ("aten::bitwise_left_shift", "aten::__lshift__"),
    ("aten::bitwise_right_shift", "aten::__rshift__"),
    ("aten::bitwise_xor", "aten::__xor__"),
    ("aten::broadcast_to", "aten::expand"),
    ("aten::clip", "aten::clamp"),
    ("aten::concat", "aten::cat"),
    ("aten::concatenate", "aten::cat"),
    ("aten::divide", "aten::div"),
    ("aten::dot", "aten::matmul"),
    ("aten::fix", "aten::trunc"),
    ("aten::ger", "aten::outer"),
    ("aten::greater", "aten::gt"),
    ("aten::greater_equal", "aten::ge"),
    ("aten::less", "aten::lt"),
    ("aten::less_equal", "aten::le"),
    ("aten::linalg_cross", "aten::cross"),
    ("aten::linalg_matmul", "aten::matmul"),
    ("aten::moveaxis", "aten::movedim"),
    ("aten::multiply", "aten::mul"),
    ("aten::mv", "aten::matmul"),
    ("aten::negative", "aten::neg"),
    ("aten::not_equal", "aten::ne"),
    ("aten::quantized_batch_norm", "quantized::batch_norm"),
    ("aten::quantized_max_pool1d", "aten::max_pool1d"),
    ("aten::quantized_max_pool2d", "aten::max_pool2d"),
    ("aten::quantized_max_pool3d", "aten::max_pool3d"),
    ("aten::row_stack", "aten::vstack"),
    ("aten::sgn", "aten::sign"),
    ("aten::special_digamma", "aten::digamma"),
    ("aten::special_erf", "aten::erf"),
    ("aten::special_erfc", "aten::erfc"),
    ("aten::special_exp2", "aten::exp2"),
    ("aten::special_expit", "aten::sigmoid"),
    ("aten::special_expm1", "aten::expm1"),
    ("aten::special_gammaln", "aten::lgamma"),
    ("aten::special_log1p", "aten::log1p"),
    ("aten::special_log_softmax", "aten::log_softmax"),
    ("aten::special_logit", "aten::logit"),
    ("aten::special_logsumexp", "aten::logsumexp"),
    ("aten::special_psi", "aten::digamma"),
    ("aten::special_round", "aten::round"),
    ("aten::special_sinc", "aten::sinc"),
    ("aten::special_softmax", "aten::softmax"),
    ("aten::special_xlogy", "aten::xlogy"),
    ("aten::subtract", "aten::sub"),
    ("aten::swapaxes", "aten::transpose"),
    ("aten::swapdims", "aten::transpose"),
    ("aten::true_divide", "aten::div"),
    ("aten::unsafe_chunk", "aten::chunk"),
    ("aten::unsafe_split", "aten::split"),
    ("aten::unsafe_split_with_sizes", "aten::split_with_sizes"),
    ("aten::vdot", "aten::matmul"),
];

/// Operators that in place make their argument another view of its storage, where others write to its elements.
const TURNING: &[&str] = &[
    "aten::as_strided",
    "aten::detach",
    "aten::squeeze",
    "aten::t",
    "aten::transpose",
    "aten::unsqueeze",
];

/// What an operator means.
#[derive(Clone, Copy)]
pub(crate) struct Meaning {
    pub(crate) kernel: Kernel,
    /// The operator as which the kernel computes.
    pub(crate) op: Op,
    /// How many of the last arguments take the results.
    pub(crate) outs: usize,
    /// How the first argument becomes the result, where it does.
    pub(crate) in_place: Option<InPlace>,
}

/// What an operator in place changes.
#[derive(Clone, Copy)]
pub(crate) enum InPlace {
    /// The elements.
    Elements,
    /// Sizes and strides.
    View,
}

/// The meaning of an operator, if it has one here.
pub(crate) fn find(op: Op) -> Option<Meaning> {
    if let Some((plain, outs)) = out::without(op) {
        return Some(Meaning {
            outs,
            ..find(plain)?
        });
    }
    if let Some(meaning) = named(op.name().as_str(), op) {
        return Some(meaning);
    }
    let name = op.name().as_str();
    let base = name.strip_suffix('_').filter(|base| !base.ends_with('_'))?;
    let in_place = if TURNING.contains(&first_name(base)) {
        InPlace::View
    } else {
        InPlace::Elements
    };
    Some(Meaning {
        in_place: Some(in_place),
        ..named(base, op)?
    })
}

/// The meaning of the overload of `op` under another name, or of that name's first one.
fn named(name: &str, op: Op) -> Option<Meaning> {
    let of = |name: &str| {
        let op = if name == op.name().as_str() {
            op
        } else {
            match op.info().overload.as_str() {
                "" => Op::of(name),
                overload => Op::of(&format!("{name}.{overload}")),
            }
        };
        let kernel = kernel(op)?;
        Some(Meaning {
            kernel,
            op,
            outs: 0,
            in_place: None,
        })
    };
    // The operators of old, and of half precision, are registered under a second namespace too.
    let public = name
        .strip_prefix('_')
        .filter(|name| name.starts_with("quantized::"));
    of(name).or_else(|| of(public.unwrap_or(first_name(name))))
}

fn first_name(name: &str) -> &str {
    let found = NAMES.binary_search_by_key(&name, |(other, _)| other);
    found.map_or(name, |at| NAMES[at].1)
}

impl InPlace {
    /// Makes the argument that stands for a result what the result is.
    pub(crate) fn change(self, target: &Value, result: &Value) -> Result<Value> {
        let (Value::Tensor(target), Value::Tensor(result)) = (target, result) else {
            return Err(Error::invalid("only tensors are changed in place"));
        };
        match self {
            _ if result.is_same(target) => {}
            Self::View => target.turn_into(result)?,
            Self::Elements => write_back(target, result)?,
        }
        Ok(target.clone().into())
    }
}

fn write_back(target: &Tensor, result: &Tensor) -> Result<()> {
    let floats = |tensor: &Tensor| tensor.dtype().is_floating_point();
    if target.shape() != result.shape() || (floats(result) && !floats(target)) {
        return Err(Error::Invalid(format!(
            "a result {result:?} cannot be written to {target:?}"
        )));
    }
    if target.dtype().is_quantized() {
        return overwrite(target, result).map(|_| ());
    }
    convert_into(result, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::counting;
    use crate::{Contract, apply, is_known};

    #[test]
    fn every_other_name_has_a_meaning() {
        assert!(NAMES.is_sorted());
        let unknown = NAMES.iter().filter(|(name, _)| !is_known(Op::of(name)));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
        assert!(is_known(Op::of("_quantized::linear_dynamic")));
    }

    #[test]
    fn a_view_in_place_is_what_every_name_means_from_then_on() {
        let x = counting(&[2, 3]);
        let (other, row) = (x.clone(), x.select(0, 1).unwrap());
        for (op, args) in [
            ("aten::t_", &[][..]),
            ("aten::unsqueeze_", &[Value::Int(0)]),
            ("aten::swapaxes_", &[Value::Int(0), Value::Int(2)]),
            ("aten::detach_", &[]),
        ] {
            let args: Vec<Value> = [&[x.clone().into()], args].concat();
            let out = apply(Op::of(op), &args, Contract::Fbgemm).unwrap();
            assert!(out[0].as_tensor().unwrap().is_same(&x), "{op}");
        }
        assert_eq!(other.shape(), [2, 3, 1]);
        let one = Value::Float(10.0);
        apply(Op::of("aten::add_"), &[row.into(), one], Contract::Fbgemm).unwrap();
        assert_eq!(other.to_f32().unwrap(), [0., 1., 2., 13., 14., 15.]);
    }

    #[test]
    fn nobody_turns_a_tensor_without_end() {
        let x = counting(&[1]);
        let turn = || {
            apply(
                Op::of("aten::detach_"),
                &[x.clone().into()],
                Contract::Fbgemm,
            )
        };
        assert!(
            (0..5000).all(|_| turn().is_ok()),
            "the same tensor is no other view"
        );
        let squeeze = || {
            apply(
                Op::of("aten::squeeze_"),
                &[x.clone().into()],
                Contract::Fbgemm,
            )
        };
        assert!((0..5000).any(|_| squeeze().is_err()));
    }

    #[test]
    fn a_result_in_place_is_its_argument() {
        let x = counting(&[2, 2]);
        let out = apply(Op::of("aten::sqrt_"), &[x.clone().into()], Contract::Fbgemm).unwrap();
        assert!(out[0].as_tensor().unwrap().is_same(&x));
        assert_eq!(x.to_f32().unwrap(), [0.0, 1.0, 2f32.sqrt(), 3f32.sqrt()]);
        let whole = Tensor::from_values(&[2], &[4i64, 9]).unwrap();
        assert!(apply(Op::of("aten::sqrt_"), &[whole.into()], Contract::Fbgemm).is_err());
    }
}
