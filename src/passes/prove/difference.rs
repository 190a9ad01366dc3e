//! Whether two values are the same within a bound; if not, how they differ.

use planish_ir::{DType, Literal, QParams, Tensor};

use crate::rewrite::Bound;

/// How far values may be apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within {
    pub(super) bound: Bound,
    /// What a share is of, if it is known to be more than the largest element.
    pub(super) largest: f64,
}

impl From<Bound> for Within {
    fn from(bound: Bound) -> Self {
        Self {
            bound,
            largest: 0.0,
        }
    }
}

/// How `after` differs from `before`, in words; `None` when it does not by more than `within` says.
///
/// Layout in memory does not count, and every NaN is the same.
pub(super) fn difference(
    before: &Literal,
    after: &Literal,
    within: impl Into<Within>,
) -> Option<String> {
    let within: Within = within.into();
    let all = |before: &[Literal], after: &[Literal]| {
        if before.len() != after.len() {
            return Some(format!("{} values became {}", before.len(), after.len()));
        }
        let mut pairs = before.iter().zip(after).enumerate();
        pairs.find_map(|(at, (before, after))| {
            Some(format!(
                "value {at}: {}",
                difference(before, after, within)?
            ))
        })
    };
    match (before, after) {
        (Literal::Tensor(before), Literal::Tensor(after)) => of_tensors(before, after, within),
        (Literal::List(_, before), Literal::List(_, after))
        | (Literal::Tuple(before), Literal::Tuple(after)) => all(before, after),
        (Literal::Dict(_, before), Literal::Dict(_, after)) => {
            let flat = |entries: &[(Literal, Literal)]| -> Vec<Literal> {
                entries
                    .iter()
                    .flat_map(|(key, value)| [key.clone(), value.clone()])
                    .collect()
            };
            all(&flat(before), &flat(after))
        }
        (Literal::Float(before), Literal::Float(after))
            if before.is_nan() && after.is_nan() || before.to_bits() == after.to_bits() =>
        {
            None
        }
        _ if before == after => None,
        _ => Some(format!("{before} became {after}")),
    }
}

fn of_tensors(before: &Tensor, after: &Tensor, within: Within) -> Option<String> {
    let Within { bound, largest } = within;
    let kind = |tensor: &Tensor| format!("{}{:?}", tensor.dtype(), tensor.shape());
    if kind(before) != kind(after) {
        return Some(format!("{} became {}", kind(before), kind(after)));
    }
    // Codes of a scale that is no number stand for none.
    if [before, after].map(has_no_scale) == [true; 2] {
        return None;
    }
    let requantized = matches!(bound, Bound::Requantized(_));
    if !requantized && before.qparams() != after.qparams() {
        return Some(format!(
            "{} became {}",
            shown(before.qparams()),
            shown(after.qparams())
        ));
    }
    let (was, mut is) = (elements(before), elements(after));
    if requantized {
        let Some(codes) = requantize(&is, before, after) else {
            return Some("there is not one scale to compare by".to_owned());
        };
        is = codes;
    }
    let allowed = match bound {
        Bound::Exact => 0.0,
        Bound::Codes(many) | Bound::Requantized(many) => f64::from(many),
        Bound::Share(share) => {
            // Of what is not finite there is no share.
            if was.iter().any(|value| !value.is_finite()) {
                return None;
            }
            let elements = was.iter();
            share * elements.fold(largest, |most, value| most.max(value.abs()))
        }
    };
    let mut worst = 0.0;
    let (mut first, mut many) = (None, 0);
    for (at, (was, is)) in was.iter().zip(&is).enumerate() {
        let same = was.to_bits() == is.to_bits() || was.is_nan() && is.is_nan();
        let off = (was - is).abs();
        // Zeros of different signs are different to the bit.
        if same || bound != Bound::Exact && off <= allowed {
            continue;
        }
        many += 1;
        first.get_or_insert((at, *was, *is));
        worst = if off > worst || off.is_nan() {
            off
        } else {
            worst
        };
    }
    let (at, was_one, is_one) = first?;
    Some(format!(
        "{many} of {} elements differ, by at most {worst}; the first, number {at}, was {was_one} and became {is_one}",
        was.len()
    ))
}

/// The elements, of quantized tensors the codes. Every type but `Long` fits, and long integers beyond 2^53 do not occur in models.
pub(super) fn elements(tensor: &Tensor) -> Vec<f64> {
    let bytes = tensor.bytes();
    let chunks = bytes.chunks_exact(tensor.dtype().size());
    let element = |bytes: &[u8]| match (tensor.dtype(), bytes) {
        (DType::Float, [a, b, c, d]) => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
        (DType::Double, _) => f64::from_le_bytes(bytes.try_into().unwrap_or_default()),
        (DType::QInt8 | DType::Char, [a]) => f64::from(a.cast_signed()),
        (_, [a]) => f64::from(*a),
        (_, [a, b, c, d]) => f64::from(i32::from_le_bytes([*a, *b, *c, *d])),
        // Half-precision floats are compared by their bits.
        (_, [a, b]) => f64::from(u16::from_le_bytes([*a, *b])),
        _ => i64::from_le_bytes(bytes.try_into().unwrap_or_default()) as f64,
    };
    chunks.map(element).collect()
}

/// The codes of `after` as they are when it is quantized by the scale and zero point of `before`.
fn requantize(codes: &[f64], before: &Tensor, after: &Tensor) -> Option<Vec<f64>> {
    let (scale, zero_point) = per_tensor(before)?;
    let (own_scale, own_zero_point) = per_tensor(after)?;
    let (low, high) = before.dtype().quantized_range()?;
    let code = |code: &f64| {
        let value = (code - own_zero_point) * own_scale;
        ((value / scale).round_ties_even() + zero_point).clamp(low as f64, high as f64)
    };
    Some(codes.iter().map(code).collect())
}

fn per_tensor(tensor: &Tensor) -> Option<(f64, f64)> {
    match tensor.qparams()? {
        QParams::PerTensor { scale, zero_point } => Some((*scale, *zero_point as f64)),
        _ => None,
    }
}

/// Whether the one scale of a quantized tensor is infinite or not a number.
fn has_no_scale(tensor: &Tensor) -> bool {
    per_tensor(tensor).is_some_and(|(scale, _)| !scale.is_finite())
}

fn shown(qparams: Option<&QParams>) -> String {
    match qparams {
        None => "a float tensor".to_owned(),
        Some(QParams::PerTensor { scale, zero_point }) => {
            format!("scale {scale} and zero point {zero_point}")
        }
        Some(_) => "a scale for each channel".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(codes: &[u8], scale: f64, zero_point: i64) -> Literal {
        let qparams = QParams::PerTensor { scale, zero_point };
        let tensor = Tensor::new(DType::QUInt8, &[codes.len() as i64], codes.to_vec()).unwrap();
        Literal::Tensor(tensor.with_qparams(qparams).unwrap())
    }

    fn floats(values: &[f32]) -> Literal {
        Literal::Tensor(Tensor::from_values(&[values.len() as i64], values).unwrap())
    }

    #[test]
    fn codes_may_differ_by_as_many_as_the_bound_says() {
        let (a, b) = (codes(&[1, 5], 0.5, 0), codes(&[1, 6], 0.5, 0));
        let told = difference(&a, &b, Bound::Exact).expect("a code differs");
        assert_eq!(
            told,
            "1 of 2 elements differ, by at most 1; the first, number 1, was 5 and became 6"
        );
        assert_eq!(difference(&a, &b, Bound::Codes(1)), None);
        let other = codes(&[1, 5], 0.25, 0);
        let told = difference(&a, &other, Bound::Codes(1)).expect("the scale differs");
        assert_eq!(
            told,
            "scale 0.5 and zero point 0 became scale 0.25 and zero point 0"
        );
    }

    #[test]
    fn codes_of_no_scale_stand_for_nothing() {
        let a = codes(&[0, 255], f64::NAN, 0);
        assert_eq!(
            difference(&a, &codes(&[9, 0], f64::NAN, 0), Bound::Codes(1)),
            None
        );
        let finite = codes(&[0, 255], 1.0, 0);
        assert!(difference(&finite, &a, Bound::Codes(1)).is_some());
    }

    #[test]
    fn another_scale_is_compared_by_what_it_stands_for() {
        // 200 steps of 1 are 255 steps of 0.5, saturated.
        let (a, b) = (codes(&[255, 8], 0.5, 0), codes(&[200, 4], 1.0, 0));
        assert_eq!(difference(&a, &b, Bound::Requantized(1)), None);
        let told = difference(&a, &codes(&[200, 6], 1.0, 0), Bound::Requantized(1));
        assert!(
            told.expect("12 instead of 8")
                .contains("was 8 and became 12")
        );
    }

    #[test]
    fn floats_are_compared_by_their_bits_or_by_their_share() {
        let (a, b) = (floats(&[100., 1.]), floats(&[100., 1.001]));
        assert!(difference(&a, &b, Bound::Exact).is_some());
        assert_eq!(difference(&a, &b, Bound::Share(1e-4)), None);
        assert!(difference(&a, &b, Bound::Share(1e-6)).is_some());
        let of_more = Within {
            bound: Bound::Share(1e-6),
            largest: 1001.,
        };
        assert_eq!(difference(&a, &b, of_more), None);
        assert!(difference(&floats(&[0.0]), &floats(&[-0.0]), Bound::Exact).is_some());
        let told = difference(&floats(&[1.]), &floats(&[f32::NAN]), Bound::Share(0.5));
        assert!(told.expect("a NaN is no number").contains("became NaN"));
        let nan = f32::from_bits(0x7fc0_0001);
        assert_eq!(
            difference(&floats(&[nan]), &floats(&[f32::NAN]), Bound::Exact),
            None
        );
    }
}
