//! The inner loop of convolutions and linear layers: a tile of pixels by blocks of 16 output channels, held in registers.
//!
//! It is written in assembler. A compiler has nothing to find in it: there are as many sums as fit, each stays in its register from the first
//! product until it is a code, and nothing else is worth a register. Told in C, the same takes a compiler longer than all the rest, and one
//! that does not try hard keeps sums in memory. What a tile is told stands in a struct (`c/conv.avx512vnni.c`), so that all other registers
//! are its own.
//!
//! | register | while it sums | at the end |
//! |---|---|---|
//! | `zmm0`… | the sum of block b and pixel p, in b · pixels + p | its code |
//! | `zmm24`–`zmm27` | a quad of weights of each block | bias, inverse scale, multiplier; zero point |
//! | `zmm28`, `zmm29` | a quad of a pixel, in turns | bounds |
//! | `r8`… | where the windows of the pixels begin | |
//! | `rax` | the distance from there | where codes go |
//! | `rcx` | quads that are left | pixels that are left |
//! | `rdx`, `rsi` | weights, runs | epilogue |

use std::fmt::{Arguments, Write as _};

use crate::Packing;
use crate::pack::BLOCK;

use super::text::Text;

/// Blocks of a full tile: 64 channels, four weight registers for each pixel that is loaded.
const BLOCKS: usize = 4;
/// The first register for weights, behind the most sums that a tile has.
const WEIGHTS: usize = 24;
/// The first of the two registers for quads of pixels.
const QUADS: usize = 28;

/// Adds the tiles for these weights, and the function that chooses among them.
pub(super) fn write(to: &mut Text, packing: &Packing) {
    let blocks = packing.outputs.div_ceil(BLOCK);
    let full = blocks.min(BLOCKS);
    let rest = match blocks % full {
        0 => full,
        rest => rest,
    };
    let shapes = if rest == full {
        vec![full]
    } else {
        vec![full, rest]
    };
    to.gap();
    for (name, value) in [
        ("BLOCKS", full),
        ("REST", rest),
        ("PIXELS", pixels(full)),
        ("REST_PIXELS", pixels(rest)),
    ] {
        to.constant(name, value);
    }
    let mut text = String::new();
    for &blocks in &shapes {
        for pixels in [pixels(blocks), 1] {
            Tile { pixels, blocks }.write(&mut text, packing);
        }
    }
    put(
        &mut text,
        format_args!("static void compute(struct tile *t, i64 blocks)\n{{"),
    );
    for &blocks in &shapes {
        let many = pixels(blocks);
        put(&mut text, format_args!("    if (blocks == {blocks})"));
        put(
            &mut text,
            format_args!("        t->count == 1 ? tile_1x{blocks}(t) : tile_{many}x{blocks}(t);"),
        );
    }
    text.push_str("}\n");
    to.part(&text);
}

/// Pixels of a tile: sums, weights and pixels fit 32 registers, and the pointers to the pixels fit the others.
fn pixels(blocks: usize) -> usize {
    match blocks {
        4 => 6,
        _ => 8,
    }
}

/// The shape of a tile.
#[derive(Clone, Copy)]
struct Tile {
    pixels: usize,
    blocks: usize,
}

impl Tile {
    fn sum(self, block: usize, pixel: usize) -> usize {
        block * self.pixels + pixel
    }

    fn write(self, text: &mut String, packing: &Packing) {
        let Self { pixels, blocks } = self;
        put(
            text,
            format_args!("/* {pixels} pixels by {blocks} x 16 channels. */"),
        );
        put(
            text,
            format_args!(
                "static void tile_{pixels}x{blocks}(struct tile *t)\n{{\n    __asm__ volatile("
            ),
        );
        self.begin(text);
        self.sum_up(text, packing);
        self.finish(text, packing);
        let general = ["rax", "rcx", "rdx", "rsi"].map(str::to_owned);
        let pointers = (8..16).map(|number| format!("r{number}"));
        // All of them: what `vzeroupper` clears has to be named too.
        let vectors = (0..32).map(|number| format!("zmm{number}"));
        let changed = general.into_iter().chain(pointers).chain(vectors);
        let changed: Vec<_> = changed.map(|name| format!("\"{name}\"")).collect();
        put(
            text,
            format_args!(
                "        : : [t] \"D\"(t) : \"cc\", \"memory\", \"k1\", {});\n}}\n",
                changed.join(", ")
            ),
        );
    }

    /// A sum begins with the sum of its weights times what the code that stands for 0 takes away.
    fn begin(self, text: &mut String) {
        line(
            text,
            (0..self.pixels).map(|pixel| format!("movq {}(%[t]), %%r{}", pixel * 8, 8 + pixel)),
        );
        line(
            text,
            [
                format!("movq {}(%[t]), %%rsi", field::RUNS),
                format!("movq {}(%[t]), %%rdx", field::START),
                format!("vpbroadcastd {}(%[t]), %%zmm{QUADS}", field::ZERO),
            ],
        );
        for block in 0..self.blocks {
            let first = self.sum(block, 0);
            let start = format!("vpmulld {}(%%rdx), %%zmm{QUADS}, %%zmm{first}", block * 64);
            let others = (1..self.pixels)
                .map(|pixel| format!("vmovdqa32 %%zmm{first}, %%zmm{}", self.sum(block, pixel)));
            line(text, [start].into_iter().chain(others));
        }
        line(text, [format!("movq {}(%[t]), %%rdx", field::WEIGHTS)]);
    }

    /// All runs of a window.
    fn sum_up(self, text: &mut String, packing: &Packing) {
        let run = packing.run();
        line(text, ["jmp 3f"]);
        line(text, ["1:"]);
        if run >= 4 {
            line(text, [format!("movl ${}, %%ecx", run / 4)]);
            line(text, [".p2align 4"]);
            line(text, ["2:"]);
            self.products(text, packing, |pixel| {
                format!("vpbroadcastd (%%r{},%%rax)", 8 + pixel)
            });
            line(text, ["addq $4, %%rax", "decl %%ecx", "jnz 2b"]);
        }
        if !run.is_multiple_of(4) {
            // The run ends inside a quad; behind it the image may end.
            self.products(text, packing, |pixel| {
                let at = format!("(%%r{},%%rax)", 8 + pixel);
                let bytes = match run % 4 {
                    1 => format!("movzbl {at}, %%ecx"),
                    2 => format!("movzwl {at}, %%ecx"),
                    _ => format!("movzbl 2{at}, %%ecx; shll $16, %%ecx; movw {at}, %%cx"),
                };
                format!("{bytes}; vpbroadcastd %%ecx")
            });
        }
        line(text, ["addq $8, %%rsi"]);
        line(text, ["3:"]);
        line(
            text,
            ["movq (%%rsi), %%rax", "testq %%rax, %%rax", "jns 1b"],
        );
    }

    /// One quad of every pixel times one quad of every block.
    fn products(self, text: &mut String, packing: &Packing, quad: impl Fn(usize) -> String) {
        let block_size = packing.runs * packing.run().div_ceil(4) * 64;
        let weights = (0..self.blocks).map(|block| {
            format!(
                "vmovdqu32 {}(%%rdx), %%zmm{}",
                block * block_size,
                WEIGHTS + block
            )
        });
        line(text, weights.chain(["addq $64, %%rdx".to_owned()]));
        for pixel in 0..self.pixels {
            let register = QUADS + pixel % 2;
            let load = [format!("{}, %%zmm{register}", quad(pixel))];
            let dots = (0..self.blocks).map(|block| {
                let (weights, sum) = (WEIGHTS + block, self.sum(block, pixel));
                format!("vpdpbusd %%zmm{weights}, %%zmm{register}, %%zmm{sum}")
            });
            line(text, load.into_iter().chain(dots));
        }
    }

    /// The output stage: sums become codes, those of the first pixels are stored, and of the last block the chosen lanes.
    fn finish(self, text: &mut String, packing: &Packing) {
        line(
            text,
            [
                format!("movq {}(%[t]), %%rsi", field::EPILOGUE),
                format!("movq {}(%[t]), %%rax", field::OUT),
                format!("movq {}(%[t]), %%rcx", field::COUNT),
                format!("kmovw {}(%[t]), %%k1", field::LAST),
            ],
        );
        line(
            text,
            [
                format!("vbroadcastss {}(%[t]), %%zmm28", field::LOW),
                format!("vbroadcastss {}(%[t]), %%zmm29", field::HIGH),
                format!("vpbroadcastd {}(%[t]), %%zmm27", field::OFFSET),
            ],
        );
        for block in 0..self.blocks {
            let load = |part: usize| {
                let at = (part * packing.slots() + block * 16) * 4;
                format!("vmovups {at}(%%rsi), %%zmm{}", WEIGHTS + part)
            };
            line(text, [load(0), load(1), load(2)]);
            for pixel in 0..self.pixels {
                let r = format!("%%zmm{}", self.sum(block, pixel));
                line(
                    text,
                    [
                        format!("vcvtdq2ps {r}, {r}"),
                        format!("vfmadd231ps %%zmm24, %%zmm25, {r}"),
                        format!("vmulps %%zmm26, {r}, {r}"),
                        // Both give the bound for what is not a number.
                        format!("vminps %%zmm29, {r}, {r}"),
                        format!("vmaxps %%zmm28, {r}, {r}"),
                        format!("vcvtps2dq {r}, {r}"),
                        format!("vpaddd %%zmm27, {r}, {r}"),
                    ],
                );
            }
        }
        for pixel in 0..self.pixels {
            let stores = (0..self.blocks).map(|block| {
                let chosen = if block + 1 == self.blocks {
                    " %{%%k1%}"
                } else {
                    ""
                };
                let code = self.sum(block, pixel);
                format!("vpmovdb %%zmm{code}, {}(%%rax){chosen}", block * 16)
            });
            line(text, stores);
            if pixel + 1 < self.pixels {
                let next = format!("addq ${}, %%rax", packing.groups * packing.outputs);
                line(text, ["decq %%rcx", "jz 4f", next.as_str()]);
            }
        }
        line(text, ["4:"]);
        line(text, ["vzeroupper"]);
    }
}

/// Where the fields of `struct tile` are; before them, the windows of eight pixels.
mod field {
    pub(super) const RUNS: usize = 64;
    pub(super) const START: usize = 72;
    pub(super) const WEIGHTS: usize = 80;
    pub(super) const EPILOGUE: usize = 88;
    pub(super) const OUT: usize = 96;
    pub(super) const COUNT: usize = 104;
    pub(super) const LAST: usize = 112;
    pub(super) const LOW: usize = 120;
    pub(super) const HIGH: usize = 124;
    pub(super) const OFFSET: usize = 128;
    pub(super) const ZERO: usize = 132;
}

/// Instructions, on one line.
fn line(text: &mut String, instructions: impl IntoIterator<Item: AsRef<str>>) {
    let mut all = String::new();
    for instruction in instructions {
        if !all.is_empty() {
            all.push_str("; ");
        }
        all.push_str(instruction.as_ref());
    }
    put(text, format_args!("        \"{all}\\n\""));
}

fn put(text: &mut String, line: Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
