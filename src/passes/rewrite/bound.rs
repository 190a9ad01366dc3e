//! How far what a rule makes may be from what it matched: to the bit, unless its `within` says otherwise.

use std::fmt;
use std::str::FromStr;

/// What a rule may change.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Bound {
    /// Nothing: scale, zero point and every element are the same.
    #[default]
    Exact,
    /// Codes, by at most so many; scale and zero point are the same.
    Codes(u32),
    /// Scale and zero point as well. Quantized as what was matched is, codes differ by at most so many.
    Requantized(u32),
    /// Floats, by at most this share of the largest one that there would be if no term of a sum took from another.
    Share(f64),
}

/// As it is written after `within`.
impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let count = |word: &str| word.parse().ok().filter(|count| *count > 0);
        let found = match words[..] {
            ["exact"] => Some(Self::Exact),
            [many, "code" | "codes"] => count(many).map(Self::Codes),
            [many, "code" | "codes", "requantized"] => count(many).map(Self::Requantized),
            [share, "of", "the", "largest"] => share
                .parse()
                .ok()
                .filter(|share| (f64::MIN_POSITIVE..1.0).contains(share))
                .map(Self::Share),
            _ => None,
        };
        found.ok_or_else(|| {
            format!(
                "`{text}` is not `exact`, `N codes`, `N codes requantized` or `SHARE of the largest`, with N from 1 and a share below 1"
            )
        })
    }
}

/// As it is written after `within`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes = |many: u32| if many == 1 { "code" } else { "codes" };
        match self {
            Self::Exact => f.write_str("exact"),
            Self::Codes(many) => write!(f, "{many} {}", codes(*many)),
            Self::Requantized(many) => write!(f, "{many} {} requantized", codes(*many)),
            Self::Share(share) => write!(f, "{share} of the largest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_written() {
        for text in [
            "1 code",
            "2 codes",
            "1 code requantized",
            "0.0001 of the largest",
        ] {
            let bound: Bound = text.parse().expect("a bound");
            assert_eq!(bound.to_string(), text);
        }
        for text in [
            "",
            "0 codes",
            "1 coat",
            "-1 codes",
            "2 of the largest",
            "nan of the largest",
        ] {
            let error = text.parse::<Bound>().expect_err("not a bound");
            assert!(error.starts_with(&format!("`{text}` is not")), "{error}");
        }
    }
}
