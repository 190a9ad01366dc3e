//! From a kernel to its C text.
//!
//! A source is a row of parts: the types, the struct of arguments, the primitives of the instruction set, and for each kernel the geometry
//! as constants and the operator's body. Parts are C files beside this one; what depends on numbers in other ways is written here.

mod text;
mod tile;

use crate::{
    AvgPool2d, Code, Conv2d, Divisor, Isa, Kernel, KernelSpec, Layout, MaxPool2d, Packing,
};
use text::Text;

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
const ENTRY_AVX512VNNI: &str = include_str!("emit/c/entry.avx512vnni.c");
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

/// The C source of kernels, which are for one instruction set.
pub(crate) fn source(kernels: &[Kernel]) -> String {
    let texts: Vec<Text> = kernels.iter().map(write).collect();
    text::source(&texts)
}

fn write(kernel: &Kernel) -> Text {
    let isa = kernel.isa();
    let mut text = Text::new(kernel);
    match kernel.spec() {
        KernelSpec::Conv2d(conv) => text.convolution(conv, conv.packing(), isa),
        KernelSpec::Linear(linear) => {
            // Rows of the matrix are pixels of one image of height 1.
            let conv = Conv2d::new(linear.inputs, linear.outputs, [1, 1]);
            text.convolution(&conv, linear.packing(), isa);
        }
        KernelSpec::Add => {
            text.shared(ROUNDING);
            text.fused(isa);
            text.part(ADD);
        }
        KernelSpec::Mul => {
            text.shared(ROUNDING);
            text.part(MUL);
        }
        KernelSpec::Cat => text.part(CAT),
        KernelSpec::Lut => text.part(LUT),
        KernelSpec::MaxPool2d(MaxPool2d {
            kernel,
            stride,
            padding,
            dilation,
        }) => {
            text.window(*kernel, *stride, *padding, *dilation);
            text.part(MAX_POOL);
        }
        KernelSpec::AvgPool2d(AvgPool2d {
            kernel,
            stride,
            padding,
            divisor,
        }) => {
            text.window(*kernel, *stride, *padding, [1, 1]);
            match divisor {
                Divisor::Padded => text.constant("DIVISOR", "((bottom - top) * (right - left))"),
                Divisor::Valid => text.constant("DIVISOR", "((y1 - y0) * (x1 - x0))"),
                Divisor::Fixed(by) => text.constant("DIVISOR", format!("{by}L")),
            }
            text.shared(ROUNDING);
            text.shared(MEAN);
            text.part(AVG_POOL);
        }
        KernelSpec::AdaptiveAvgPool2d => {
            text.shared(ROUNDING);
            text.shared(MEAN);
            text.part(ADAPTIVE_AVG_POOL);
        }
        KernelSpec::Quantize(_) => {
            text.shared(ROUNDING);
            text.part(QUANTIZE);
        }
        KernelSpec::Dequantize(code) => {
            text.constant("CODE", if *code == Code::U8 { "u8" } else { "s8" });
            text.part(DEQUANTIZE);
        }
        KernelSpec::PackConv | KernelSpec::PackLinear => {
            text.shared(if isa == Isa::Portable {
                POSITION_PORTABLE
            } else {
                POSITION_AVX512VNNI
            });
            text.part(PACK);
        }
        KernelSpec::Relayout(layout) => {
            let (rows, columns) = match layout {
                Layout::NchwToNhwc => ("a->c", "a->h * a->w"),
                Layout::NhwcToNchw => ("a->h * a->w", "a->c"),
            };
            text.constant("ROWS", rows);
            text.constant("COLUMNS", columns);
            text.part(RELAYOUT);
        }
    }
    text
}

impl Text {
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
        self.gap();
        self.pair('K', kernel);
        self.pair('S', stride);
        self.pair('P', padding);
        self.pair('D', dilation);
    }

    fn fused(&mut self, isa: Isa) {
        self.shared(if isa == Isa::Portable {
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
                self.shared(ROUNDING);
                self.shared(FUSED_PORTABLE);
                self.shared(BYTES_PORTABLE);
                self.shared(FRAME);
                if packing.depthwise {
                    self.own(DEPTHWISE_PORTABLE, &["pixel"]);
                } else {
                    self.own(CONV_PORTABLE, &["dot", "pixel"]);
                }
                self.own(PIXELS_PORTABLE, &["convolve"]);
            }
            Isa::Avx512Vnni => {
                self.shared(BYTES_AVX512VNNI);
                self.shared(FRAME);
                self.shared(WALK);
                if packing.depthwise {
                    self.shared(VECTORS);
                    self.own(DEPTHWISE_AVX512VNNI, &["four_pixels", "convolve"]);
                } else {
                    self.shared(TILE);
                    tile::write(self, &packing);
                    self.shared(CONV_AVX512VNNI);
                    self.own(ENTRY_AVX512VNNI, &["geometry"]);
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
