//! A kernel's identity: what it computes, by which numeric contract, for which instruction set.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Isa, KernelSpec, emit};

/// The arithmetic that outputs follow bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Contract {
    /// Exact `i32` accumulation; the zero point is added after rounding.
    Fbgemm,
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fbgemm => f.pad("fbgemm"),
        }
    }
}

impl FromStr for Contract {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "fbgemm" => Ok(Self::Fbgemm),
            _ => Err(Error::Text {
                text: text.to_owned(),
                why: "expected a contract: fbgemm".to_owned(),
            }),
        }
    }
}

/// A kernel. Its geometry has been checked, so everything below is total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kernel {
    spec: KernelSpec,
    contract: Contract,
    isa: Isa,
}

impl Kernel {
    /// The kernel for `spec`, if its geometry makes sense.
    pub fn new(spec: KernelSpec, contract: Contract, isa: Isa) -> Result<Self, Error> {
        spec.check()?;
        Ok(Self {
            spec,
            contract,
            isa,
        })
    }

    /// Operator and geometry.
    pub fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// Numeric contract.
    pub fn contract(&self) -> Contract {
        self.contract
    }

    /// Instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The one symbol that the compiled kernel exports.
    pub fn symbol(&self) -> String {
        format!("planish_{}", self.to_string().replace(' ', "_"))
    }

    /// The kernel's C source; compile it with [`Isa::flags`].
    pub fn source(&self) -> String {
        emit::source(std::slice::from_ref(self))
    }

    /// How a C compiler is called for this kernel, apart from input and output: as [`Isa::flags`] say, with few optimisations where the
    /// inner loop is written in assembler.
    pub fn flags(&self) -> Vec<&'static str> {
        let dense = self
            .spec
            .packing()
            .is_some_and(|packing| !packing.depthwise);
        let assembler = dense && self.isa == Isa::Avx512Vnni;
        let flags = self.isa.flags().iter();
        flags
            .map(|flag| {
                if *flag == "-O3" && assembler {
                    "-O"
                } else {
                    flag
                }
            })
            .collect()
    }

    /// Bytes of working memory that a call needs for images of height × width.
    ///
    /// A padded convolution copies one image at a time into a frame of code `z_x`, so that its inner loop knows no borders.
    pub fn scratch_len(&self, [height, width]: [usize; 2]) -> usize {
        match &self.spec {
            KernelSpec::Conv2d(conv) if conv.padding != [0, 0] => {
                // Saturating, since sizes of a hostile artefact come here unchecked; no working memory is that long.
                let rows = height.saturating_add(2 * conv.padding[0]);
                let columns = width.saturating_add(2 * conv.padding[1]);
                rows.saturating_mul(columns).saturating_mul(conv.inputs)
            }
            _ => 0,
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.spec, self.contract, self.isa)
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut words = text.rsplitn(3, ' ');
        let (Some(isa), Some(contract), Some(spec)) = (words.next(), words.next(), words.next())
        else {
            return Err(Error::Text {
                text: text.to_owned(),
                why: "expected operator, contract, instruction set".to_owned(),
            });
        };
        Self::new(spec.parse()?, contract.parse()?, isa.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conv2d;

    #[test]
    fn text_round_trips() {
        let spec = KernelSpec::Conv2d(Conv2d::new(3, 64, [7, 7]).padded([3, 3]));
        for isa in Isa::ALL {
            let kernel = Kernel::new(spec, Contract::Fbgemm, isa).unwrap();
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        assert!("add_u8 fbgemm".parse::<Kernel>().is_err());
        assert!("add_u8 qnnpack portable".parse::<Kernel>().is_err());
    }

    #[test]
    fn what_is_written_in_assembler_is_compiled_with_few_optimisations() {
        let dense = Conv2d::new(16, 16, [3, 3]);
        let depthwise = Conv2d {
            groups: 16,
            ..dense
        };
        let level = |conv, isa| {
            let kernel = Kernel::new(KernelSpec::Conv2d(conv), Contract::Fbgemm, isa).unwrap();
            let mut flags = kernel.flags().into_iter();
            flags.find(|flag| flag.starts_with("-O"))
        };
        assert_eq!(level(dense, Isa::Avx512Vnni), Some("-O"));
        assert_eq!(level(dense, Isa::Portable), Some("-O3"));
        assert_eq!(level(depthwise, Isa::Avx512Vnni), Some("-O3"));
    }

    #[test]
    fn an_impossible_geometry_makes_no_kernel() {
        let spec = KernelSpec::Conv2d(Conv2d {
            groups: 2,
            ..Conv2d::new(3, 4, [1, 1])
        });
        assert!(Kernel::new(spec, Contract::Fbgemm, Isa::Portable).is_err());
    }
}
