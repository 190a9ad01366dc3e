//! What is compiled together: kernels in one translation unit.
//!
//! Most of what a small kernel costs is the start of a compiler's programs: four of them, 27 ms of processor time, where a convolution
//! takes 16 more, or 8 beside another one. So kernels are joined when there are more of them than processors to compile them, and apart when there are not.
//!
//! # Laws
//! - **Which kernels are joined depends on the kernels alone**, never on what waits, on workers or on threads: what is compiled together
//!   is one object, and the same module gives the same bytes everywhere.
//! - Kernels of a unit have the same flags. Those that pack weights, which are needed first and once, are with their like.
//! - A unit takes the kernels in the order in which they come, up to a bound on the work in it. The bound is such that there are units for
//!   [`PROCESSORS`], as long as each is worth the start of a compiler ([`START`]) and keeps nobody waiting ([`MOST`]).
//! - A kernel above the bound is alone.

use std::fmt;

use crate::{Isa, Kernel, KernelSpec, emit};

/// Processors for which there should be units. A machine with fewer has them all at work; on one with eight, joined kernels are still there
/// as soon as kernels apart, which would be twice as many rounds.
const PROCESSORS: u32 = 4;
/// What the start of a compiler costs, in milliseconds of a processor, as all of these numbers (GCC 12 on an EPYC, 2026).
const START: u32 = 27;
/// The most work in a unit: four starts of a compiler, with the one that it takes. With half as much resnet50 would take a fifth longer on two
/// processors, and with twice as much nearly twice as long on eight.
const MOST: u32 = 96;

/// Kernels that are compiled together, and are one shared object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unit {
    /// At least one.
    kernels: Vec<Kernel>,
}

impl Unit {
    /// A kernel by itself.
    pub fn alone(kernel: Kernel) -> Self {
        Self {
            kernels: vec![kernel],
        }
    }

    /// The units in which these kernels are compiled, in the order of the first kernel of each.
    pub fn join(kernels: &[Kernel]) -> Vec<Self> {
        let bound = bound(kernels);
        let mut units: Vec<Filling> = Vec::new();
        for kernel in kernels {
            let (kind, work) = (Kind::of(kernel), work(kernel));
            let mut others = units.iter_mut().rev();
            // The last one that is not a big kernel is the one that is not full.
            let last = others.find(|unit| unit.kind == kind && unit.work <= bound);
            match last.filter(|unit| unit.work + work <= bound) {
                Some(unit) => {
                    unit.kernels.push(*kernel);
                    unit.work += work;
                }
                None => units.push(Filling {
                    kind,
                    kernels: vec![*kernel],
                    work,
                }),
            }
        }
        let kernels = units.into_iter().map(|unit| unit.kernels);
        kernels.map(|kernels| Self { kernels }).collect()
    }

    /// The kernels, in the order in which they stand in the source.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }

    /// The C source; it defines the symbols of all kernels.
    pub fn source(&self) -> String {
        emit::source(&self.kernels)
    }

    /// How a C compiler is called for it; see [`Kernel::flags`].
    pub fn flags(&self) -> Vec<&'static str> {
        self.kernels.first().map_or_else(Vec::new, Kernel::flags)
    }
}

/// `2 kernels: add_u8, mul_u8 fbgemm portable`, and a kernel alone as it prints.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [others @ .., last] = &self.kernels[..] else {
            return Ok(());
        };
        if !others.is_empty() {
            write!(f, "{} kernels: ", self.kernels.len())?;
        }
        for kernel in others {
            write!(f, "{}, ", kernel.spec())?;
        }
        write!(f, "{last}")
    }
}

/// A unit to which kernels are added.
struct Filling {
    kind: Kind,
    kernels: Vec<Kernel>,
    work: u32,
}

/// What kernels of a unit have in common.
#[derive(PartialEq)]
struct Kind {
    isa: Isa,
    packs: bool,
    flags: Vec<&'static str>,
}

impl Kind {
    fn of(kernel: &Kernel) -> Self {
        Self {
            isa: kernel.isa(),
            packs: kernel.spec().is_packer(),
            flags: kernel.flags(),
        }
    }
}

/// The most work in a unit of these kernels that has more than one.
fn bound(kernels: &[Kernel]) -> u32 {
    let all: u32 = kernels.iter().map(work).sum();
    (all / PROCESSORS).clamp(START, MOST)
}

/// What a compiler does for a kernel besides starting, as measured: numbers that need not be better than by a factor of two.
fn work(kernel: &Kernel) -> u32 {
    let wide = kernel.isa() == Isa::Avx512Vnni;
    let either = |wide_work, portable| if wide { wide_work } else { portable };
    match kernel.spec() {
        KernelSpec::Quantize(_) | KernelSpec::Lut | KernelSpec::Mul => 8,
        KernelSpec::Dequantize(_)
        | KernelSpec::PackConv
        | KernelSpec::PackLinear
        | KernelSpec::Relayout(_) => 16,
        KernelSpec::Cat => either(40, 8),
        KernelSpec::Add => either(24, 72),
        KernelSpec::MaxPool2d(_) => either(32, 48),
        KernelSpec::AvgPool2d(_) | KernelSpec::AdaptiveAvgPool2d => either(64, 112),
        KernelSpec::Conv2d(conv) if conv.packing().depthwise => either(64, 128),
        // Of what vectors do there is little to compile: tiles are assembler, and the loops around them are shared.
        KernelSpec::Conv2d(_) | KernelSpec::Linear(_) => either(8, 96),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, Conv2d, MaxPool2d};

    fn kernel(spec: KernelSpec) -> Kernel {
        Kernel::new(spec, Contract::Fbgemm, Isa::Avx512Vnni).unwrap()
    }

    /// Convolutions of the first so many numbers of channels.
    fn dense(count: usize) -> Vec<Kernel> {
        let specs = (1..=count).map(|inputs| KernelSpec::Conv2d(Conv2d::new(inputs, 16, [1, 1])));
        specs.map(kernel).collect()
    }

    fn pool() -> MaxPool2d {
        MaxPool2d {
            kernel: [2, 2],
            stride: [2, 2],
            padding: [0, 0],
            dilation: [1, 1],
        }
    }

    fn depthwise() -> Kernel {
        kernel(KernelSpec::Conv2d(Conv2d {
            groups: 8,
            ..Conv2d::new(8, 8, [3, 3])
        }))
    }

    fn sizes(kernels: &[Kernel]) -> Vec<usize> {
        let units = Unit::join(kernels);
        units.iter().map(|unit| unit.kernels.len()).collect()
    }

    #[test]
    fn few_kernels_are_apart_and_many_are_joined() {
        assert_eq!(sizes(&dense(3)), [3]);
        assert_eq!(sizes(&dense(8)), [3, 3, 2]);
        assert_eq!(sizes(&dense(16)), [4; 4]);
        assert_eq!(sizes(&dense(48)), [12; 4]);
        // From here on there are more units, not larger ones.
        assert_eq!(sizes(&dense(61)), [vec![12; 5], vec![1]].concat());
        let pools = [KernelSpec::AdaptiveAvgPool2d, KernelSpec::MaxPool2d(pool())].map(kernel);
        assert_eq!(sizes(&pools), [1, 1]);
        assert_eq!(sizes(&[]), [0; 0]);
    }

    #[test]
    fn units_have_all_kernels_once_in_their_order() {
        let kernels = dense(23);
        let units = Unit::join(&kernels);
        let joined: Vec<Kernel> = units.iter().flat_map(|unit| unit.kernels.clone()).collect();
        assert_eq!(joined, kernels);
    }

    #[test]
    fn a_kernel_is_with_its_like_and_a_big_one_alone() {
        let mut kernels = dense(4);
        kernels.splice(
            2..2,
            [
                kernel(KernelSpec::Lut),
                depthwise(),
                kernel(KernelSpec::PackConv),
                kernel(KernelSpec::Mul),
                kernel(KernelSpec::PackLinear),
            ],
        );
        let units = Unit::join(&kernels);
        let names: Vec<String> = units.iter().map(Unit::to_string).collect();
        let conv = |inputs: usize| format!("conv2d_u8s8u8 i{inputs} o16 k1x1 s1x1 p0x0 d1x1 g1");
        let tail = "fbgemm avx512vnni";
        assert_eq!(
            names,
            [
                format!(
                    "4 kernels: {}, {}, {}, {} {tail}",
                    conv(1),
                    conv(2),
                    conv(3),
                    conv(4)
                ),
                format!("2 kernels: lut_u8, mul_u8 {tail}"),
                format!("{}", depthwise()),
                format!("2 kernels: pack_conv_s8, pack_linear_s8 {tail}"),
            ]
        );
    }

    #[test]
    fn a_unit_has_the_flags_of_its_kernels() {
        for unit in Unit::join(&dense(9)) {
            assert!(
                unit.kernels
                    .iter()
                    .all(|kernel| kernel.flags() == unit.flags())
            );
        }
    }

    #[test]
    fn a_source_defines_every_kernel_and_its_own_names_once() {
        let unit = &Unit::join(&dense(8))[0];
        let source = unit.source();
        for kernel in &unit.kernels {
            assert_eq!(source.matches(&kernel.symbol()).count(), 1, "{source}");
        }
        assert_eq!(
            source.matches("struct planish_args {").count(),
            1,
            "{source}"
        );
        assert_eq!(source.matches("#define compute ").count(), 2, "{source}");
        assert_eq!(unit.source(), source);
        let alone = Unit::alone(unit.kernels[0]).source();
        assert_eq!(alone, unit.kernels[0].source());
        assert!(!alone.contains("#undef"), "{alone}");
    }
}
