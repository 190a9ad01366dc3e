//! Which arithmetic quantized operators follow.

use std::fmt;
use std::str::FromStr;

/// A family of kernels in PyTorch whose results quantized operators reproduce to the bit.
///
/// The families differ in how sums are scaled back to codes: the order of the factors, where the bias enters, and whether the zero
/// point is added before or after rounding. All of them sum exactly.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Contract {
    /// FBGEMM: planish's own contract.
    #[default]
    Fbgemm,
    /// QNNPACK.
    Qnnpack,
    /// oneDNN.
    Onednn,
}

impl Contract {
    /// Every contract.
    pub const ALL: [Self; 3] = [Self::Fbgemm, Self::Qnnpack, Self::Onednn];

    /// PyTorch's name of the engine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fbgemm => "fbgemm",
            Self::Qnnpack => "qnnpack",
            Self::Onednn => "onednn",
        }
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Contract {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|c| c.name() == text);
        found.ok_or_else(|| {
            format!("read {text:?} as a contract: it is one of fbgemm, qnnpack, onednn")
        })
    }
}
