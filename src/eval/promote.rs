//! Element types of results of mixed operands.

use planish_ir::DType;

use crate::call::Scalar;
use crate::tensor::Tensor;

/// An operand of an elementwise operator.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Tensor(Tensor),
    Number(Scalar),
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(tensor.clone())
    }
}

impl From<Scalar> for Operand {
    fn from(number: Scalar) -> Self {
        Self::Number(number)
    }
}

/// The type in which operands are combined (PyTorch: `result_type`).
///
/// Tensors with dimensions decide; a tensor without dimensions, and after it a Python number, counts only when it is of a higher kind
/// (bool, integer, floating point) than what comes before it.
pub(crate) fn common_type(operands: &[Operand]) -> DType {
    let of = |wanted: u8| {
        let types = operands.iter().filter_map(|operand| match operand {
            Operand::Tensor(tensor) if wanted == u8::from(tensor.rank() == 0) => {
                Some(tensor.dtype())
            }
            Operand::Number(number) if wanted == 2 => Some(number_type(*number)),
            _ => None,
        });
        types.reduce(promote)
    };
    let rest = combine(of(1), of(2));
    combine(of(0), rest).unwrap_or(DType::Float)
}

/// The type of a tensor made from a Python number.
pub(crate) fn number_type(number: Scalar) -> DType {
    match number {
        Scalar::Bool(_) => DType::Bool,
        Scalar::Int(_) => DType::Long,
        Scalar::Float(_) => DType::Float,
    }
}

fn combine(first: Option<DType>, second: Option<DType>) -> Option<DType> {
    match (first, second) {
        (Some(a), Some(b)) if kind(a) < kind(b) => Some(promote(a, b)),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

fn kind(dtype: DType) -> u8 {
    match dtype {
        DType::Bool => 0,
        _ if dtype.is_complex() => 3,
        _ if dtype.is_floating_point() => 2,
        _ => 1,
    }
}

/// The smallest type that holds values of both (PyTorch: `promote_types`).
pub(crate) fn promote(a: DType, b: DType) -> DType {
    use DType::{BFloat16, Byte, Char, Double, Float, Half, Int, Short};
    if a == b {
        return a;
    }
    let (low, high) = if kind(a) <= kind(b) { (a, b) } else { (b, a) };
    if kind(low) < kind(high) {
        return high;
    }
    match (low, high) {
        (Half, BFloat16) | (BFloat16, Half) => Float,
        (Byte, Char) | (Char, Byte) => Short,
        (Double, _) | (_, Double) => Double,
        (Float, _) | (_, Float) => Float,
        _ => {
            // Integers: the wider one; a narrow unsigned byte fits every wider signed type.
            let rank = |dtype| match dtype {
                Byte | Char => 1,
                Short => 2,
                Int => 3,
                _ => 4,
            };
            if rank(low) >= rank(high) { low } else { high }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_only_by_kind() {
        let byte = Tensor::from_values(&[2], &[1u8, 2]).unwrap();
        let with = |number| common_type(&[Operand::from(&byte), Operand::Number(number)]);
        assert_eq!(with(Scalar::Int(300)), DType::Byte);
        assert_eq!(with(Scalar::Float(1.0)), DType::Float);
        let double = Tensor::scalar(1f64).unwrap();
        let float = Tensor::from_values(&[1], &[1f32]).unwrap();
        assert_eq!(
            common_type(&[(&float).into(), (&double).into()]),
            DType::Float
        );
        assert_eq!(promote(DType::Byte, DType::Char), DType::Short);
        assert_eq!(promote(DType::Bool, DType::Half), DType::Half);
    }
}
