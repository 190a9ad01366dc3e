//! How numbers are spelled.
//!
//! `shortest` is Python's: the fewest digits that read back to the same bits. `precise` is PyTorch's own: 17 significant digits.

/// Largest integral float that PyTorch prints digit by digit.
const DIGIT_BY_DIGIT: f64 = 1e10;

/// The shortest text of a float that reads back to the same bits; always told apart from an int.
pub(super) fn shortest(value: f64) -> String {
    if value.is_finite() {
        return layout(&format!("{value:e}"), 16);
    }
    match value {
        f64::INFINITY => "inf".to_owned(),
        f64::NEG_INFINITY => "-inf".to_owned(),
        _ if value.to_bits() == f64::NAN.to_bits() => "nan".to_owned(),
        _ => format!("{:#018x}", value.to_bits()),
    }
}

/// [`shortest`] for 32 bits.
pub(super) fn shortest_f32(value: f32) -> String {
    if value.is_finite() {
        return layout(&format!("{value:e}"), 16);
    }
    match value {
        f32::INFINITY => "inf".to_owned(),
        f32::NEG_INFINITY => "-inf".to_owned(),
        _ if value.to_bits() == f32::NAN.to_bits() => "nan".to_owned(),
        _ => format!("{:#010x}", value.to_bits()),
    }
}

/// The text that PyTorch prints for a float.
pub(super) fn precise(value: f64) -> String {
    if !value.is_finite() || (value.fract() == 0.0 && value.abs() < DIGIT_BY_DIGIT) {
        return shortest(value);
    }
    layout(&format!("{value:.16e}"), 17)
}

/// Real and imaginary part as one number.
pub(super) fn complex(real: &str, imaginary: &str) -> String {
    let sign = if imaginary.starts_with('-') { "" } else { "+" };
    format!("{real}{sign}{imaginary}j")
}

/// Scientific text (`-1.25e-7`) as Python lays it out; from `10^limit` on it stays scientific.
fn layout(scientific: &str, limit: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        digits => digits,
    };
    if !(-4..limit).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return format!(
            "{sign}{first}{dot}{rest}e{exponent_sign}{:02}",
            exponent.abs()
        );
    }
    if exponent < 0 {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        let zeros = "0".repeat(whole - digits.len());
        return format!("{sign}{digits}{zeros}.");
    }
    format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_spelled_as_python_and_pytorch_spell_them() {
        for (value, short, long) in [
            (1.0, "1.", "1."),
            (-0.0, "-0.", "-0."),
            (0.1, "0.1", "0.10000000000000001"),
            (1e-5, "1e-05", "1.0000000000000001e-05"),
            (0.05, "0.05", "0.050000000000000003"),
            (1e22, "1e+22", "1e+22"),
            (1e15, "1000000000000000.", "1000000000000000."),
            (123456.75, "123456.75", "123456.75"),
            (0.00012, "0.00012", "0.00012"),
            (f64::INFINITY, "inf", "inf"),
            (f64::NAN, "nan", "nan"),
        ] {
            assert_eq!((&*shortest(value), &*precise(value)), (short, long));
        }
        assert_eq!(precise(0.06449742615222931), "0.064497426152229309");
        assert_eq!(shortest_f32(0.1), "0.1");
        assert_eq!(
            shortest(f64::from_bits(0x7ff8_0000_0000_0001)),
            "0x7ff8000000000001"
        );
        assert_eq!(complex("0.", "-2."), "0.-2.j");
    }
}
