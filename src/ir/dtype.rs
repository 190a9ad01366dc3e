//! Element types of tensors, with PyTorch's names and numbers.

use std::fmt;

/// The element type of a tensor (PyTorch: `ScalarType`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the variants are PyTorch's scalar types and are described by their names"
)]
pub enum DType {
    Byte,
    Char,
    Short,
    Int,
    Long,
    Half,
    Float,
    Double,
    ComplexHalf,
    ComplexFloat,
    ComplexDouble,
    Bool,
    QInt8,
    QUInt8,
    QInt32,
    BFloat16,
    QUInt4x2,
}

/// Every element type with its name in the text IR; the position is PyTorch's number of the type.
const NAMES: [(DType, &str); 17] = [
    (DType::Byte, "Byte"),
    (DType::Char, "Char"),
    (DType::Short, "Short"),
    (DType::Int, "Int"),
    (DType::Long, "Long"),
    (DType::Half, "Half"),
    (DType::Float, "Float"),
    (DType::Double, "Double"),
    (DType::ComplexHalf, "ComplexHalf"),
    (DType::ComplexFloat, "ComplexFloat"),
    (DType::ComplexDouble, "ComplexDouble"),
    (DType::Bool, "Bool"),
    (DType::QInt8, "QInt8"),
    (DType::QUInt8, "QUInt8"),
    (DType::QInt32, "QInt32"),
    (DType::BFloat16, "BFloat16"),
    (DType::QUInt4x2, "QUInt4x2"),
];

impl DType {
    /// The type's name in the text IR, such as `QUInt8`.
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The type with this name in the text IR.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(dtype, _)| *dtype)
    }

    /// PyTorch's number of the type (`ScalarType` as an int; quint8 is 13).
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The type with PyTorch's number `code`.
    pub fn from_code(code: i64) -> Option<Self> {
        usize::try_from(code)
            .ok()
            .and_then(|index| NAMES.get(index))
            .map(|(dtype, _)| *dtype)
    }

    /// Bytes of one element. PyTorch keeps two `QUInt4x2` codes in a byte; here each has its own.
    pub fn size(self) -> usize {
        match self {
            Self::Byte | Self::Char | Self::Bool | Self::QInt8 | Self::QUInt8 | Self::QUInt4x2 => 1,
            Self::Short | Self::Half | Self::BFloat16 => 2,
            Self::Int | Self::Float | Self::QInt32 | Self::ComplexHalf => 4,
            Self::Long | Self::Double | Self::ComplexFloat => 8,
            Self::ComplexDouble => 16,
        }
    }

    /// Whether elements carry a scale and a zero point.
    pub fn is_quantized(self) -> bool {
        matches!(
            self,
            Self::QInt8 | Self::QUInt8 | Self::QInt32 | Self::QUInt4x2
        )
    }

    /// Whether elements are real floating-point numbers.
    pub fn is_floating_point(self) -> bool {
        matches!(
            self,
            Self::Half | Self::Float | Self::Double | Self::BFloat16
        )
    }

    /// Whether elements are complex numbers.
    pub fn is_complex(self) -> bool {
        matches!(
            self,
            Self::ComplexHalf | Self::ComplexFloat | Self::ComplexDouble
        )
    }

    /// Smallest and largest code of a quantized type.
    pub fn quantized_range(self) -> Option<(i64, i64)> {
        match self {
            Self::QInt8 => Some((-128, 127)),
            Self::QUInt8 => Some((0, 255)),
            Self::QUInt4x2 => Some((0, 15)),
            Self::QInt32 => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            _ => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_code_order() {
        for (code, (dtype, name)) in NAMES.iter().enumerate() {
            assert_eq!(DType::from_code(code as i64), Some(*dtype));
            assert_eq!(DType::from_name(name), Some(*dtype));
            assert_eq!(dtype.code(), code as i64);
        }
    }
}
