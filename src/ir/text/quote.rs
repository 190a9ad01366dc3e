//! Strings in double quotes.
//!
//! PyTorch writes a byte that is not printable as a backslash and three octal digits. It computes the digits from a *signed* byte, so
//! those of a byte above 127 come out as characters below `0` (`é` is `\0)+\/.)`). The sum of the digits is still the byte, and nothing
//! else is written that way, so such text is read back exactly.

use std::borrow::Cow;

/// Why a string could not be read, and where in it.
pub(super) struct BadEscape {
    pub(super) at: usize,
    pub(super) message: &'static str,
}

/// The text that stands for a string, quotes included.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\'' => out.push_str("\\'"),
            b'"' => out.push_str("\\\""),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x0b => out.push_str("\\v"),
            b' '..=b'~' => out.push(byte as char),
            _ => {
                out.push('\\');
                for shift in [6, 3, 0] {
                    out.push((b'0' + (byte >> shift & 7)) as char);
                }
            }
        }
    }
    out.push('"');
    out
}

/// A name as it stands, or quoted where it would not be read as one: letters, digits and `_`, and dots if `dotted`.
pub(super) fn name_or_quoted(name: &str, dotted: bool) -> Cow<'_, str> {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && (part(name) || dotted && name.split('.').all(part)) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(quote(name))
}

/// The string that `quoted`, quotes included, stands for. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn unquote(quoted: &str) -> Result<String, BadEscape> {
    let bytes = &quoted.as_bytes()[1..quoted.len() - 1];
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at).copied() {
        if byte != b'\\' {
            out.push(byte);
            at += 1;
            continue;
        }
        let bad = |message| BadEscape {
            at: at + 1,
            message,
        };
        let escaped = *bytes
            .get(at + 1)
            .ok_or(bad("a string ends in a backslash"))?;
        let (byte, len) = match escaped {
            b'\\' | b'\'' | b'"' => (escaped, 2),
            b'a' => (0x07, 2),
            b'b' => (0x08, 2),
            b'f' => (0x0c, 2),
            b'n' => (b'\n', 2),
            b'r' => (b'\r', 2),
            b't' => (b'\t', 2),
            b'v' => (0x0b, 2),
            b'x' => {
                let digits = bytes.get(at + 2..at + 4).unwrap_or_default();
                let byte = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (byte.ok_or(bad("`\\x` wants two hexadecimal digits"))?, 4)
            }
            b')'..=b'7' => {
                let digits = bytes.get(at + 1..at + 4).unwrap_or_default();
                (
                    octal(digits).ok_or(bad("a backslash and a digit want three octal digits"))?,
                    4,
                )
            }
            _ => return Err(bad("an unknown escape")),
        };
        out.push(byte);
        at += len;
    }
    Ok(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Three digits, each from `-7` (`)`) to `7`.
fn octal(digits: &[u8]) -> Option<u8> {
    if digits.len() != 3 || !digits.iter().all(|digit| (b')'..=b'7').contains(digit)) {
        return None;
    }
    let sum = digits.iter().fold(0, |sum, digit| {
        sum * 8 + i32::from(*digit) - i32::from(b'0')
    });
    match sum {
        0..=255 => Some(sum as u8),
        -128..0 => Some((sum + 256) as u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_reads_back() {
        let all: String = (0..0x250).filter_map(char::from_u32).collect();
        assert_eq!(unquote(&quote(&all)).ok(), Some(all));
        assert_eq!(quote("a\"b\\c\n\u{1}"), "\"a\\\"b\\\\c\\n\\001\"");
        assert_eq!(quote("é"), "\"\\303\\251\"");
    }

    #[test]
    fn the_signed_octal_of_pytorch_is_undone() {
        for byte in 128..=255_u8 {
            // The digits as PyTorch computes them: remainders of a signed byte.
            let mut rest = i32::from(byte as i8);
            let mut digits = [b'0'; 3];
            for digit in digits.iter_mut().rev() {
                *digit = (i32::from(*digit) + rest % 8) as u8;
                rest /= 8;
            }
            assert_eq!(octal(&digits), Some(byte));
        }
        assert_eq!(unquote("\"\\0)+\\/.)\"").ok().as_deref(), Some("é"));
    }

    #[test]
    fn unknown_and_cut_escapes_are_refused() {
        for bad in ["\"\\q\"", "\"\\x4\"", "\"\\01\"", "\"\\777\""] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
    }
}
