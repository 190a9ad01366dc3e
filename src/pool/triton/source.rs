//! A Triton kernel as it is compiled: its text and everything else that decides the bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hash::Fields;
use crate::triton::grid::Grid;
use crate::triton::signature::Signature;
use crate::triton::text::is_name;

/// A Triton kernel to be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TritonSource {
    text: String,
    function: String,
    signature: Signature,
    grid: Grid,
    pub(crate) options: Options,
}

/// How a kernel is compiled and started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    pub warps: u32,
    pub ctas: u32,
    pub stages: u32,
    pub fp_fusion: bool,
}

/// A kind of device, by its compute capability: `sm_80`, `sm_90`, `sm_100`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Arch(u32);

impl TritonSource {
    /// The function of that name in a Python module, which may import Triton and whatever the
    /// Python that compiles it has. The signature lists the function's parameters in their order.
    /// 4 warps, 1 cta, 3 stages, and no product is contracted with a sum.
    pub fn new(
        text: impl Into<String>,
        function: impl Into<String>,
        signature: Signature,
        grid: &Grid,
    ) -> Result<Self, Error> {
        let function = function.into();
        if !is_name(&function) {
            return Err(Error::Triton {
                what: format!("compile `{function}`"),
                reason: "that is not the name of a function".to_owned(),
            });
        }
        Ok(Self {
            text: text.into(),
            function,
            grid: grid.resolved(&signature)?,
            signature,
            options: Options {
                warps: 4,
                ctas: 1,
                stages: 3,
                fp_fusion: false,
            },
        })
    }

    /// With another number of warps for each program, a power of two up to 32.
    #[must_use]
    pub fn warps(mut self, warps: u32) -> Self {
        self.options.warps = warps;
        self
    }

    /// With another number of blocks for each program, which needs `sm_90`.
    #[must_use]
    pub fn ctas(mut self, ctas: u32) -> Self {
        self.options.ctas = ctas;
        self
    }

    /// With another depth of the loops' pipelines.
    #[must_use]
    pub fn stages(mut self, stages: u32) -> Self {
        self.options.stages = stages;
        self
    }

    /// Whether `a * b + c` may be rounded once. It changes results: kernels that must agree with
    /// others to the bit write the fused product where they want it.
    #[must_use]
    pub fn fp_fusion(mut self, fp_fusion: bool) -> Self {
        self.options.fp_fusion = fp_fusion;
        self
    }

    /// The Python text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The function.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// A name for files: the function's, and what tells this kernel from others that have a function of that name.
    pub fn name(&self) -> String {
        let mut fields = Fields::new("planish triton source 1");
        self.add_to(&mut fields);
        let [a, b, c, d, e, f, g, h, ..] = fields.finish();
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        format!("{}-{number:016x}", self.function)
    }

    /// Its parameters.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The programs of a launch; constants are numbers in it.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Adds everything that decides the bytes.
    pub(crate) fn add_to(&self, fields: &mut Fields) {
        let Options {
            warps,
            ctas,
            stages,
            fp_fusion,
        } = self.options;
        for text in [
            self.text.as_str(),
            &self.function,
            &self.signature.to_string(),
            &self.grid.to_string(),
            &format!("{warps} {ctas} {stages} {fp_fusion}"),
        ] {
            fields.add(text.as_bytes());
        }
    }

    /// Why the pool should not take it.
    pub(crate) fn objection(&self, arch: Arch) -> Option<String> {
        let Options {
            warps,
            ctas,
            stages,
            ..
        } = self.options;
        let power = |number: u32, most: u32| number.is_power_of_two() && number <= most;
        if !power(warps, 32) {
            return Some(format!("{warps} warps are not a power of two up to 32"));
        }
        if !power(ctas, 16) {
            return Some(format!("{ctas} ctas are not a power of two up to 16"));
        }
        if ctas > 1 && arch.number() < 90 {
            return Some(format!("{ctas} ctas need sm_90, and it is for {arch}"));
        }
        if !(1..=16).contains(&stages) {
            return Some(format!("{stages} stages are not between 1 and 16"));
        }
        None
    }
}

impl Arch {
    /// Ampere.
    pub const SM_80: Self = Self(80);
    /// Hopper.
    pub const SM_90: Self = Self(90);
    /// Blackwell.
    pub const SM_100: Self = Self(100);

    /// Ten times the major and once the minor number of the capability.
    pub fn number(self) -> u32 {
        self.0
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.strip_prefix("sm_")
            .and_then(|number| number.parse().ok())
            .filter(|number| (75..200).contains(number))
            .map(Self)
            .ok_or_else(|| Error::Triton {
                what: format!("compile for `{text}`"),
                reason: "expected a device such as sm_80, sm_90 or sm_100".to_owned(),
            })
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("sm_{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_no_device_has_are_refused() {
        let signature: Signature = "x: *u8".parse().expect("signature");
        let grid: Grid = "1".parse().expect("grid");
        let source = TritonSource::new("", "f", signature.clone(), &grid).expect("source");
        assert_eq!(source.objection(Arch::SM_80), None);
        for (source, arch) in [
            (source.clone().warps(3), Arch::SM_80),
            (source.clone().warps(64), Arch::SM_80),
            (source.clone().ctas(2), Arch::SM_80),
            (source.clone().ctas(0), Arch::SM_90),
            (source.clone().stages(0), Arch::SM_90),
        ] {
            assert!(source.objection(arch).is_some(), "{source:?}");
        }
        assert_eq!(source.ctas(2).objection(Arch::SM_90), None);
        assert!(TritonSource::new("", "f()", signature, &grid).is_err());
    }

    #[test]
    fn kernels_that_differ_have_names_that_differ() {
        let made = |text: &str, signature: &str, grid: &str| {
            let signature: Signature = signature.parse().expect(signature);
            let grid: Grid = grid.parse().expect(grid);
            TritonSource::new(text, "f", signature, &grid).expect(text)
        };
        let source = || made("a", "n: i32", "1");
        let names = [
            source(),
            made("b", "n: i32", "1"),
            made("a", "n: i32@16", "1"),
            made("a", "n: i32", "n"),
            source().warps(8),
            source().stages(1),
            source().fp_fusion(true),
        ]
        .map(|source| source.name());
        assert!(names.iter().all(|name| name.starts_with("f-")), "{names:?}");
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(source().name(), names[0]);
    }

    #[test]
    fn a_device_reads_back() {
        for text in ["sm_80", "sm_90", "sm_100"] {
            assert_eq!(text.parse::<Arch>().expect(text).to_string(), text);
        }
        for text in ["80", "sm_", "sm_9x", "sm_20", "sm_900"] {
            assert!(text.parse::<Arch>().is_err(), "{text}");
        }
    }
}
