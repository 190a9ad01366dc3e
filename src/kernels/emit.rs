//! From a kernel to its C source.
//!
//! A source is a row of parts: the types, the struct of arguments, the primitives of the instruction set, the geometry as constants, the
//! operator's body. Parts that do not depend on numbers are C files beside this one; what depends on them is written here.

mod tile;

use std::fmt::Write as _;

use crate::{
    AvgPool2d, Code, Conv2d, Divisor, Isa, Kernel, KernelSpec, Layout, MaxPool2d, Packing, abi,
};

const TYPES: &str = include_str!("emit/c/types.c");
const ROUNDING: &str = include_str!("emit/c/rounding.c");
const FUSED_PORTABLE: &str = include_str!("emit/c/fused.portable.c");
const FUSED_AVX512VNNI: &str = include_str!("emit/c/fused.avx512vnni.c");
const VECTORS: &str = include_str!("emit/c/vectors.avx512vnni.c");
const BYTES_PORTABLE: &str = include_str!("emit/c/bytes.portable.c");
const BYTES_AVX512VNNI: &str = include_str!("emit/c/bytes.avx512vnni.c");
const FRAME: &str = include_str!("emit/c/frame.c");
const WALK: &str = include_str!("emit/c/walk.c");
const CONV_PORTABLE: &str = include_str!("emit/c/conv.portable.c");
const TILE: &str = include_str!("emit/c/tile.avx512vnni.c");
const CONV_AVX512VNNI: &str = include_str!("emit/c/conv.avx512vnni.c");
const DEPTHWISE_PORTABLE: &str = include_str!("emit/c/depthwise.portable.c");
const DEPTHWISE_AVX512VNNI: &str = include_str!("emit/c/depthwise.avx512vnni.c");
const PIXELS_PORTABLE: &str = include_str!("emit/c/pixels.portable.c");
const ADD: &str = include_str!("emit/c/add.c");
const MUL: &str = include_str!("emit/c/mul.c");
const CAT: &str = include_str!("emit/c/cat.c");
const LUT: &str = include_str!("emit/c/lut.c");
const MAX_POOL: &str = include_str!("emit/c/max_pool.c");
const MEAN: &str = include_str!("emit/c/mean.c");
const AVG_POOL: &str = include_str!("emit/c/avg_pool.c");
const ADAPTIVE_AVG_POOL: &str = include_str!("emit/c/adaptive_avg_pool.c");
const QUANTIZE: &str = include_str!("emit/c/quantize.c");
const DEQUANTIZE: &str = include_str!("emit/c/dequantize.c");
const RELAYOUT: &str = include_str!("emit/c/relayout.c");
const POSITION_PORTABLE: &str = include_str!("emit/c/position.portable.c");
const POSITION_AVX512VNNI: &str = include_str!("emit/c/position.avx512vnni.c");
const PACK: &str = include_str!("emit/c/pack.c");

/// The C source of a kernel.
pub(crate) fn source(kernel: &Kernel) -> String {
    let mut source = Source {
        text: format!("/* {kernel}, interface {} */\n", abi::VERSION),
    };
    let isa = kernel.isa();
    source.part(TYPES);
    source.part(&abi::declaration());
    source.constant("ENTRY", kernel.symbol());
    source.part(
        "__attribute__((visibility(\"default\"))) int ENTRY(const struct planish_args *a);\n",
    );
    match kernel.spec() {
        KernelSpec::Conv2d(conv) => source.convolution(conv, conv.packing(), isa),
        KernelSpec::Linear(linear) => {
            // Rows of the matrix are pixels of one image of height 1.
            let conv = Conv2d::new(linear.inputs, linear.outputs, [1, 1]);
            source.convolution(&conv, linear.packing(), isa);
        }
        KernelSpec::Add => {
            source.part(ROUNDING);
            source.fused(isa);
            source.part(ADD);
        }
        KernelSpec::Mul => {
            source.part(ROUNDING);
            source.part(MUL);
        }
        KernelSpec::Cat => source.part(CAT),
        KernelSpec::Lut => source.part(LUT),
        KernelSpec::MaxPool2d(MaxPool2d {
            kernel,
            stride,
            padding,
            dilation,
        }) => {
            source.window(*kernel, *stride, *padding, *dilation);
            source.part(MAX_POOL);
        }
        KernelSpec::AvgPool2d(AvgPool2d {
            kernel,
            stride,
            padding,
            divisor,
        }) => {
            source.window(*kernel, *stride, *padding, [1, 1]);
            match divisor {
                Divisor::Padded => source.constant("DIVISOR", "((bottom - top) * (right - left))"),
                Divisor::Valid => source.constant("DIVISOR", "((y1 - y0) * (x1 - x0))"),
                Divisor::Fixed(by) => source.constant("DIVISOR", format!("{by}L")),
            }
            source.part(ROUNDING);
            source.part(MEAN);
            source.part(AVG_POOL);
        }
        KernelSpec::AdaptiveAvgPool2d => {
            source.part(ROUNDING);
            source.part(MEAN);
            source.part(ADAPTIVE_AVG_POOL);
        }
        KernelSpec::Quantize(_) => {
            source.part(ROUNDING);
            source.part(QUANTIZE);
        }
        KernelSpec::Dequantize(code) => {
            source.constant("CODE", if *code == Code::U8 { "u8" } else { "s8" });
            source.part(DEQUANTIZE);
        }
        KernelSpec::PackConv | KernelSpec::PackLinear => {
            source.part(if isa == Isa::Portable {
                POSITION_PORTABLE
            } else {
                POSITION_AVX512VNNI
            });
            source.part(PACK);
        }
        KernelSpec::Relayout(layout) => {
            let (rows, columns) = match layout {
                Layout::NchwToNhwc => ("a->c", "a->h * a->w"),
                Layout::NhwcToNchw => ("a->h * a->w", "a->c"),
            };
            source.constant("ROWS", rows);
            source.constant("COLUMNS", columns);
            source.part(RELAYOUT);
        }
    }
    source.text
}

/// A source that is being written.
struct Source {
    text: String,
}

impl Source {
    fn part(&mut self, part: &str) {
        self.text.push('\n');
        self.text.push_str(part);
    }

    fn constant(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "#define {name} {value}");
    }

    fn pair(&mut self, name: char, [h, w]: [usize; 2]) {
        self.constant(&format!("{name}H"), format!("{h}L"));
        self.constant(&format!("{name}W"), format!("{w}L"));
    }

    fn window(
        &mut self,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
        dilation: [usize; 2],
    ) {
        self.text.push('\n');
        self.pair('K', kernel);
        self.pair('S', stride);
        self.pair('P', padding);
        self.pair('D', dilation);
    }

    fn fused(&mut self, isa: Isa) {
        self.part(if isa == Isa::Portable {
            FUSED_PORTABLE
        } else {
            FUSED_AVX512VNNI
        });
    }

    fn convolution(&mut self, conv: &Conv2d, packing: Packing, isa: Isa) {
        self.window(conv.kernel, conv.stride, conv.padding, conv.dilation);
        for (name, value) in [
            ("IC", conv.inputs),
            ("OC", conv.outputs),
            ("G", packing.groups),
            ("ICG", packing.inputs),
            ("OCG", packing.outputs),
            ("GROUP_SLOTS", packing.slots() / packing.groups),
            ("SLOTS", packing.slots()),
            ("RUN", packing.run()),
            ("RUNS", packing.runs),
            ("QUADS", packing.run().div_ceil(4)),
            ("RUNS_X", packing.runs / conv.kernel[0]),
        ] {
            self.constant(name, format!("{value}L"));
        }
        // The image with its frame.
        self.constant("HEIGHT(a)", "((a)->h + 2 * PH)");
        self.constant("WIDTH(a)", "((a)->w + 2 * PW)");
        match isa {
            Isa::Portable => {
                self.part(ROUNDING);
                self.part(FUSED_PORTABLE);
                self.part(BYTES_PORTABLE);
                self.part(FRAME);
                self.part(if packing.depthwise {
                    DEPTHWISE_PORTABLE
                } else {
                    CONV_PORTABLE
                });
                self.part(PIXELS_PORTABLE);
            }
            Isa::Avx512Vnni => {
                self.part(BYTES_AVX512VNNI);
                self.part(FRAME);
                self.part(WALK);
                if packing.depthwise {
                    self.part(VECTORS);
                    self.part(DEPTHWISE_AVX512VNNI);
                } else {
                    self.part(TILE);
                    self.part(&tile::tiles(&packing));
                    self.part(CONV_AVX512VNNI);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Contract;

    #[test]
    fn a_source_includes_nothing() {
        for spec in [
            KernelSpec::Conv2d(Conv2d::new(3, 70, [3, 3]).padded([1, 1])),
            KernelSpec::Conv2d(Conv2d {
                groups: 8,
                ..Conv2d::new(8, 8, [3, 3])
            }),
            KernelSpec::Add,
            KernelSpec::PackConv,
        ] {
            for isa in Isa::ALL {
                let source = Kernel::new(spec, Contract::Fbgemm, isa).unwrap().source();
                assert!(!source.contains("#include"), "{source}");
                assert!(source.is_ascii());
            }
        }
    }
}
