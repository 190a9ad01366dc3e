//! Instruction sets for which kernels are written, and how their source is compiled.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Any x86-64 processor.
    Portable,
    /// AVX-512 (F, BW, VL) with VNNI's byte dot product.
    Avx512Vnni,
}

impl Isa {
    /// All instruction sets, the most general first.
    pub const ALL: [Self; 2] = [Self::Portable, Self::Avx512Vnni];

    /// The best one that this processor can run, by CPUID.
    pub fn host() -> Self {
        if Self::Avx512Vnni.is_supported() {
            Self::Avx512Vnni
        } else {
            Self::Portable
        }
    }

    /// Whether this processor (and its operating system) can run it.
    pub fn is_supported(self) -> bool {
        match self {
            Self::Portable => cfg!(target_arch = "x86_64"),
            Self::Avx512Vnni => avx512_vnni(),
        }
    }

    /// How a C compiler is called for this instruction set, apart from input and output.
    ///
    /// Never `-march=native`: the kernel's identity says for which processor it is. Nothing that changes a floating-point result. The
    /// link leaves out libc and start files, so that the object has no constructor, and fails if a symbol stays undefined.
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Portable => concat_flags!("-march=x86-64", "-mtune=generic"),
            Self::Avx512Vnni => concat_flags!(
                "-march=x86-64",
                "-mtune=generic",
                "-mavx2",
                "-mfma",
                "-mavx512f",
                "-mavx512bw",
                "-mavx512vl",
                "-mavx512vnni",
                "-mprefer-vector-width=512"
            ),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx512Vnni => "avx512vnni",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == text)
            .ok_or_else(|| Error::Text {
                text: text.to_owned(),
                why: "expected an instruction set: portable or avx512vnni".to_owned(),
            })
    }
}

/// The flags shared by all instruction sets, then those given.
macro_rules! concat_flags {
    ($($flag:literal),+) => {
        &[
            "-std=gnu99",
            "-O3",
            "-ffreestanding",
            // Else GCC turns loops that copy or fill into calls of libc.
            "-fno-tree-loop-distribute-patterns",
            "-ffp-contract=off",
            "-fwrapv",
            "-fno-math-errno",
            "-fno-stack-protector",
            "-fno-asynchronous-unwind-tables",
            "-fvisibility=hidden",
            "-fPIC",
            "-shared",
            "-nostartfiles",
            "-nostdlib",
            "-Wl,-z,defs",
            "-Wl,-z,noexecstack",
            "-Wl,-z,now",
            // One page for code and constants, none to protect after loading: an object calls nothing outside of itself and has nothing that
            // is written to. It loads in half the time (25 µs instead of 50) and is a fifth as large.
            "-Wl,-z,noseparate-code",
            "-Wl,-z,norelro",
            $($flag),+
        ]
    };
}
use concat_flags;

#[cfg(target_arch = "x86_64")]
fn avx512_vnni() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn avx512_vnni() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert!("avx2".parse::<Isa>().is_err());
    }

    #[test]
    fn flags_keep_the_floating_point_laws() {
        for isa in Isa::ALL {
            assert!(isa.flags().contains(&"-ffp-contract=off"));
            assert!(
                !isa.flags()
                    .iter()
                    .any(|flag| flag.contains("native") || flag.contains("fast-math"))
            );
        }
    }
}
