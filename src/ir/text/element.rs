//! Elements of tensors as text.

use half::{bf16, f16};

use crate::DType;
use crate::text::number::{complex, shortest, shortest_f32};

/// Appends the bytes of the element that `text` stands for; `None` when it stands for none of this type.
///
/// `imaginary` is the second of the two numbers that a complex one consists of, with its `j`.
pub(super) fn encode(
    dtype: DType,
    text: &str,
    imaginary: Option<&str>,
    out: &mut Vec<u8>,
) -> Option<()> {
    if imaginary.is_some() && !dtype.is_complex() {
        return None;
    }
    match dtype {
        DType::Byte | DType::QUInt8 | DType::QUInt4x2 => out.push(text.parse().ok()?),
        DType::Char | DType::QInt8 => out.extend(text.parse::<i8>().ok()?.to_le_bytes()),
        DType::Bool => out.push(match text {
            "0" | "False" => 0,
            "1" | "True" => 1,
            _ => return None,
        }),
        DType::Short => out.extend(text.parse::<i16>().ok()?.to_le_bytes()),
        DType::Int | DType::QInt32 => out.extend(text.parse::<i32>().ok()?.to_le_bytes()),
        DType::Long => out.extend(text.parse::<i64>().ok()?.to_le_bytes()),
        DType::Half | DType::BFloat16 | DType::Float | DType::Double => real(dtype, text, out)?,
        DType::ComplexHalf | DType::ComplexFloat | DType::ComplexDouble => {
            let part = match dtype {
                DType::ComplexHalf => DType::Half,
                DType::ComplexFloat => DType::Float,
                _ => DType::Double,
            };
            let (re, im) = match imaginary {
                Some(imaginary) => (text, imaginary.strip_suffix('j')?),
                None => text.strip_suffix('j').map_or((text, "0"), |im| ("0", im)),
            };
            real(part, re, out)?;
            real(part, im, out)?;
        }
    }
    Some(())
}

/// The text of the element whose bytes these are.
pub(super) fn decode(dtype: DType, bytes: &[u8]) -> String {
    fn le<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes
            .try_into()
            .expect("an element has the size of its type")
    }
    match dtype {
        DType::Byte | DType::QUInt8 | DType::QUInt4x2 | DType::Bool => bytes[0].to_string(),
        DType::Char | DType::QInt8 => (bytes[0] as i8).to_string(),
        DType::Short => i16::from_le_bytes(le(bytes)).to_string(),
        DType::Int | DType::QInt32 => i32::from_le_bytes(le(bytes)).to_string(),
        DType::Long => i64::from_le_bytes(le(bytes)).to_string(),
        DType::Half => {
            let value = f16::from_le_bytes(le(bytes));
            small_float(value.to_f32(), value.to_bits())
        }
        DType::BFloat16 => {
            let value = bf16::from_le_bytes(le(bytes));
            small_float(value.to_f32(), value.to_bits())
        }
        DType::Float => shortest_f32(f32::from_le_bytes(le(bytes))),
        DType::Double => shortest(f64::from_le_bytes(le(bytes))),
        DType::ComplexHalf => both(DType::Half, bytes),
        DType::ComplexFloat => both(DType::Float, bytes),
        DType::ComplexDouble => both(DType::Double, bytes),
    }
}

fn both(part: DType, bytes: &[u8]) -> String {
    let (re, im) = bytes.split_at(part.size());
    complex(&decode(part, re), &decode(part, im))
}

fn small_float(value: f32, bits: u16) -> String {
    if value.is_nan() {
        return format!("{bits:#06x}");
    }
    shortest_f32(value)
}

fn real(dtype: DType, text: &str, out: &mut Vec<u8>) -> Option<()> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let bits = |text: &str| {
        text.strip_prefix("0x")
            .map(|bits| u64::from_str_radix(bits, 16).ok())
    };
    match (dtype, bits(text)) {
        (DType::Half | DType::BFloat16, Some(bits)) => {
            out.extend(u16::try_from(bits?).ok()?.to_le_bytes());
        }
        (DType::Float, Some(bits)) => out.extend(u32::try_from(bits?).ok()?.to_le_bytes()),
        (_, Some(bits)) => out.extend(bits?.to_le_bytes()),
        (DType::Half, None) => out.extend(f16::from_f64(text.parse().ok()?).to_le_bytes()),
        (DType::BFloat16, None) => out.extend(bf16::from_f64(text.parse().ok()?).to_le_bytes()),
        (DType::Float, None) => out.extend(text.parse::<f32>().ok()?.to_le_bytes()),
        (_, None) => out.extend(text.parse::<f64>().ok()?.to_le_bytes()),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_pattern_reads_back() {
        for bits in (0..=u16::MAX).step_by(7) {
            for dtype in [DType::Half, DType::BFloat16, DType::Short] {
                let mut back = Vec::new();
                let text = decode(dtype, &bits.to_le_bytes());
                assert!(encode(dtype, &text, None, &mut back).is_some(), "{text}");
                assert_eq!(back, bits.to_le_bytes(), "{dtype} {text}");
            }
        }
        for (dtype, bytes) in [
            (DType::Float, 0x7fc0_0001_u32.to_le_bytes().to_vec()),
            (DType::Float, 0.1_f32.to_le_bytes().to_vec()),
            (DType::Double, f64::MIN_POSITIVE.to_le_bytes().to_vec()),
            (DType::Long, i64::MIN.to_le_bytes().to_vec()),
        ] {
            let mut back = Vec::new();
            let text = decode(dtype, &bytes);
            assert!(encode(dtype, &text, None, &mut back).is_some(), "{text}");
            assert_eq!(back, bytes, "{dtype} {text}");
        }
    }

    #[test]
    fn a_complex_element_is_two_numbers() {
        let bytes = [1.5_f32, -1e-30].map(f32::to_le_bytes).concat();
        assert_eq!(decode(DType::ComplexFloat, &bytes), "1.5-1e-30j");
        let mut back = Vec::new();
        let read = encode(DType::ComplexFloat, "1.5", Some("-1e-30j"), &mut back);
        assert_eq!((read, back), (Some(()), bytes));
        assert!(encode(DType::Float, "1.5", Some("+2.j"), &mut Vec::new()).is_none());
    }

    #[test]
    fn values_outside_a_type_are_refused() {
        for (dtype, text) in [
            (DType::QInt8, "128"),
            (DType::Byte, "-1"),
            (DType::Bool, "2"),
            (DType::Float, "x"),
            (DType::Long, "1."),
        ] {
            assert!(encode(dtype, text, None, &mut Vec::new()).is_none());
        }
    }
}
