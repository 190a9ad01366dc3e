//! The parameters of a kernel: which are arguments of the launch, and which are constants.
//!
//! ```
//! use planish_pool::Signature;
//!
//! let text = "x: *u8@16, rows: i32, BLOCK: 64, RELU: true";
//! let signature: Signature = text.parse()?;
//! assert_eq!(signature.to_string(), text);
//! # Ok::<(), planish_pool::Error>(())
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::triton::text::{Reader, is_name};

/// The parameters of a kernel, in the order of the function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    parameters: Vec<Parameter>,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the function.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The address of elements, on the device.
    Pointer {
        /// Their type.
        of: Element,
        /// The address is a multiple of this.
        divisor: u32,
    },
    /// A number.
    Scalar {
        /// Its type.
        of: Element,
        /// The number is a multiple of this.
        divisor: u32,
    },
    /// Known when the kernel is compiled, and no argument of the launch.
    Constant(Value),
}

/// The value of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// True or false.
    Bool(bool),
    /// A number.
    Int(i64),
}

/// Type of an element, spelled as Triton spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Element {
    I1,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
}

/// The largest multiple that a parameter may be promised to be.
const DIVISOR: u32 = 4096;

impl Signature {
    /// These parameters. No name may come twice, and a divisor is a power of two.
    pub fn new(parameters: Vec<Parameter>) -> Result<Self, Error> {
        for (at, parameter) in parameters.iter().enumerate() {
            let name = &parameter.name;
            let wrong = |reason: &str| {
                Err(Error::Triton {
                    what: format!("take the parameter `{name}`"),
                    reason: reason.to_owned(),
                })
            };
            if !is_name(name) {
                return wrong("that is not a name");
            }
            if parameters[..at].iter().any(|before| before.name == *name) {
                return wrong("there are two of that name");
            }
            match parameter.kind {
                Kind::Scalar { of, .. } if !of.is_scalar() => {
                    return wrong("a number of that type is not passed as such");
                }
                Kind::Pointer { divisor, .. } | Kind::Scalar { divisor, .. }
                    if !divisor.is_power_of_two() || divisor > DIVISOR =>
                {
                    return wrong("what divides it must be a power of two up to 4096");
                }
                _ => {}
            }
        }
        Ok(Self { parameters })
    }

    /// The parameters.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The value of the constant of that name.
    pub fn constant(&self, name: &str) -> Option<Value> {
        let found = self.parameters.iter().find(|one| one.name == name);
        match found?.kind {
            Kind::Constant(value) => Some(value),
            _ => None,
        }
    }
}

impl Parameter {
    /// A pointer to elements, aligned to 16 bytes as every allocation is.
    pub fn pointer(name: &str, of: Element) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Pointer { of, divisor: 16 },
        }
    }

    /// A number of which nothing more is known.
    pub fn scalar(name: &str, of: Element) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Scalar { of, divisor: 1 },
        }
    }

    /// A constant.
    pub fn constant(name: &str, value: impl Into<Value>) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Constant(value.into()),
        }
    }
}

impl Element {
    const ALL: [Self; 13] = [
        Self::I1,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::U8,
        Self::U16,
        Self::U32,
        Self::U64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
    ];

    /// Triton's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::I1 => "i1",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::U64 => "u64",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Fp32 => "fp32",
            Self::Fp64 => "fp64",
        }
    }

    /// Bytes of one.
    pub fn bytes(self) -> u32 {
        match self {
            Self::I1 | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::Fp16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::Fp32 => 4,
            Self::I64 | Self::U64 | Self::Fp64 => 8,
        }
    }

    /// Whether a launch passes it as it is. Triton widens truth values and short floats.
    fn is_scalar(self) -> bool {
        !matches!(self, Self::I1 | Self::Fp16 | Self::Bf16)
    }
}

impl FromStr for Element {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.into_iter();
        all.find(|element| element.name() == name).ok_or(())
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut reader = Reader::new("signature", text);
        let mut parameters = Vec::new();
        while !reader.at_end() {
            let name = reader.word()?.to_owned();
            reader.expect(':')?;
            let kind = kind(&mut reader)?;
            parameters.push(Parameter { name, kind });
            if !reader.at_end() {
                reader.expect(',')?;
            }
        }
        Self::new(parameters)
    }
}

impl TryFrom<String> for Signature {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Signature> for String {
    fn from(signature: Signature) -> Self {
        signature.to_string()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, parameter) in self.parameters.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", parameter.name, parameter.kind)?;
        }
        Ok(())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (star, of, divisor) = match self {
            Self::Constant(value) => return value.fmt(f),
            Self::Pointer { of, divisor } => ("*", of, *divisor),
            Self::Scalar { of, divisor } => ("", of, *divisor),
        };
        write!(f, "{star}{}", of.name())?;
        match divisor {
            1 => Ok(()),
            divisor => write!(f, "@{divisor}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

fn kind(reader: &mut Reader<'_>) -> Result<Kind, Error> {
    let pointer = reader.take('*');
    let word = reader.word()?;
    if !pointer {
        if let Ok(number) = word.parse::<i64>() {
            return Ok(Kind::Constant(Value::Int(number)));
        }
        if let Ok(truth) = word.parse::<bool>() {
            return Ok(Kind::Constant(Value::Bool(truth)));
        }
    }
    let Ok(of) = word.parse::<Element>() else {
        let known = Element::ALL.map(Element::name).join(", ");
        return Err(reader.wrong(&format!(
            "`{word}` is neither a value nor one of {known}, found"
        )));
    };
    let mut divisor = 1;
    if reader.take('@') {
        let word = reader.word()?;
        divisor = word
            .parse()
            .map_err(|_| reader.wrong(&format!("`{word}` is not a number, found")))?;
    }
    Ok(if pointer {
        Kind::Pointer { of, divisor }
    } else {
        Kind::Scalar { of, divisor }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_reads_back() {
        let text = "x: *u8@16, s: fp32, rows: i64@16, N: -3, RELU: false";
        let signature: Signature = text.parse().expect("a signature");
        assert_eq!(signature.to_string(), text);
        assert_eq!(signature.constant("N"), Some(Value::Int(-3)));
        assert_eq!(signature.constant("x"), None);
        assert_eq!("".parse::<Signature>().expect("empty").parameters(), []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong = |text: &str| text.parse::<Signature>().expect_err(text).to_string();
        assert_eq!(
            wrong("x *u8"),
            "read the signature `x *u8`: expected `:` before `*u8`"
        );
        assert!(wrong("x: *q8").contains("`q8` is neither a value nor one of i1, i8,"));
        assert!(wrong("x: *5").contains("`5` is neither"));
        assert!(wrong("x: *u8@3").contains("a power of two"));
        assert!(wrong("x: *u8@0").contains("a power of two"));
        assert!(wrong("x: *u8@x").contains("`x` is not a number"));
        assert!(wrong("x: i32, x: 5").contains("there are two of that name"));
        assert!(wrong("x: fp16").contains("is not passed as such"));
        assert!(wrong("1: i32").contains("that is not a name"));
        assert!(wrong("x:").ends_with("expected a name or a number at the end"));
    }
}
