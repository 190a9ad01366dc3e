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

/// Adds pieces to a text.
macro_rules! pieces {
    ($text:expr, $($piece:expr),+) => {{
        let text: &mut String = $text;
        $(Piece::put($piece, text);)+
    }};
}

/// Adds an instruction, given in pieces, to the line.
macro_rules! op {
    ($lines:expr, $($piece:expr),+) => {
        pieces!($lines.next(), $($piece),+)
    };
}

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
    let mut text = String::with_capacity(1 << 14);
    for &blocks in &shapes {
        for pixels in [pixels(blocks), 1] {
            Tile { pixels, blocks }.write(&mut text, packing);
            to.name(format!("tile_{pixels}x{blocks}"));
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
    to.own(&text, &["compute"]);
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
        let mut lines = Lines { text, begun: false };
        self.begin(&mut lines);
        self.sum_up(&mut lines, packing);
        self.finish(&mut lines, packing);
        text.push_str("        : : [t] \"D\"(t) : CHANGED);\n}\n\n");
    }

    /// A sum begins with the sum of its weights times what the code that stands for 0 takes away.
    fn begin(self, lines: &mut Lines<'_>) {
        for pixel in 0..self.pixels {
            op!(lines, "movq ", pixel * 8, "(%[t]), %%r", 8 + pixel);
        }
        lines.end();
        op!(lines, "movq ", field::RUNS, "(%[t]), %%rsi");
        op!(lines, "movq ", field::START, "(%[t]), %%rdx");
        op!(lines, "vpbroadcastd ", field::ZERO, "(%[t]), %%zmm", QUADS);
        lines.end();
        for block in 0..self.blocks {
            let first = self.sum(block, 0);
            op!(
                lines,
                "vpmulld ",
                block * 64,
                "(%%rdx), %%zmm",
                QUADS,
                ", %%zmm",
                first
            );
            for pixel in 1..self.pixels {
                op!(
                    lines,
                    "vmovdqa32 %%zmm",
                    first,
                    ", %%zmm",
                    self.sum(block, pixel)
                );
            }
            lines.end();
        }
        op!(lines, "movq ", field::WEIGHTS, "(%[t]), %%rdx");
        lines.end();
    }

    /// All runs of a window.
    fn sum_up(self, lines: &mut Lines<'_>, packing: &Packing) {
        let run = packing.run();
        lines.whole("jmp 3f");
        lines.whole("1:");
        if run >= 4 {
            op!(lines, "movl $", run / 4, ", %%ecx");
            lines.end();
            lines.whole(".p2align 4");
            lines.whole("2:");
            self.products(lines, packing, |lines, pixel| {
                op!(lines, "vpbroadcastd (%%r", 8 + pixel, ",%%rax)");
            });
            lines.whole("addq $4, %%rax; decl %%ecx; jnz 2b");
        }
        if !run.is_multiple_of(4) {
            // The run ends inside a quad; behind it the image may end.
            self.products(lines, packing, |lines, pixel| {
                let from = 8 + pixel;
                match run % 4 {
                    1 => op!(lines, "movzbl (%%r", from, ",%%rax), %%ecx"),
                    2 => op!(lines, "movzwl (%%r", from, ",%%rax), %%ecx"),
                    _ => {
                        op!(lines, "movzbl 2(%%r", from, ",%%rax), %%ecx");
                        op!(lines, "shll $16, %%ecx");
                        op!(lines, "movw (%%r", from, ",%%rax), %%cx");
                    }
                }
                op!(lines, "vpbroadcastd %%ecx");
            });
        }
        lines.whole("addq $8, %%rsi");
        lines.whole("3:");
        lines.whole("movq (%%rsi), %%rax; testq %%rax, %%rax; jns 1b");
    }

    /// One quad of every pixel times one quad of every block. `quad` loads that of a pixel, up to the register.
    fn products(
        self,
        lines: &mut Lines<'_>,
        packing: &Packing,
        quad: impl Fn(&mut Lines<'_>, usize),
    ) {
        let block_size = packing.runs * packing.run().div_ceil(4) * 64;
        for block in 0..self.blocks {
            op!(
                lines,
                "vmovdqu32 ",
                block * block_size,
                "(%%rdx), %%zmm",
                WEIGHTS + block
            );
        }
        op!(lines, "addq $64, %%rdx");
        lines.end();
        for pixel in 0..self.pixels {
            let register = QUADS + pixel % 2;
            quad(lines, pixel);
            pieces!(lines.text, ", %%zmm", register);
            for block in 0..self.blocks {
                let (weights, sum) = (WEIGHTS + block, self.sum(block, pixel));
                op!(
                    lines,
                    "vpdpbusd %%zmm",
                    weights,
                    ", %%zmm",
                    register,
                    ", %%zmm",
                    sum
                );
            }
            lines.end();
        }
    }

    /// Sums become codes (`STAGE`); those of the first pixels are stored, and of the last block the chosen lanes.
    fn finish(self, lines: &mut Lines<'_>, packing: &Packing) {
        op!(lines, "movq ", field::EPILOGUE, "(%[t]), %%rsi");
        op!(lines, "movq ", field::OUT, "(%[t]), %%rax");
        op!(lines, "movq ", field::COUNT, "(%[t]), %%rcx");
        op!(lines, "kmovw ", field::LAST, "(%[t]), %%k1");
        lines.end();
        op!(lines, "vbroadcastss ", field::LOW, "(%[t]), %%zmm28");
        op!(lines, "vbroadcastss ", field::HIGH, "(%[t]), %%zmm29");
        op!(lines, "vpbroadcastd ", field::OFFSET, "(%[t]), %%zmm27");
        lines.end();
        for block in 0..self.blocks {
            for part in 0..3 {
                let at = (part * packing.slots() + block * 16) * 4;
                op!(lines, "vmovups ", at, "(%%rsi), %%zmm", WEIGHTS + part);
            }
            lines.end();
            for pixel in 0..self.pixels {
                pieces!(
                    lines.text,
                    "        STAGE(\"",
                    self.sum(block, pixel),
                    "\")\n"
                );
            }
        }
        for pixel in 0..self.pixels {
            for block in 0..self.blocks {
                let code = self.sum(block, pixel);
                op!(lines, "vpmovdb %%zmm", code, ", ", block * 16, "(%%rax)");
                if block + 1 == self.blocks {
                    lines.text.push_str(" %{%%k1%}");
                }
            }
            lines.end();
            if pixel + 1 < self.pixels {
                op!(lines, "decq %%rcx");
                op!(lines, "jz 4f");
                op!(lines, "addq $", packing.groups * packing.outputs, ", %%rax");
                lines.end();
            }
        }
        lines.whole("4:");
        lines.whole("vzeroupper");
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

/// Lines of instructions, each a string in C. A network has some ten thousand instructions, which are written whenever it is finalized, so
/// they are put together piece by piece and not by format strings.
struct Lines<'t> {
    text: &'t mut String,
    /// Whether the line has an instruction.
    begun: bool,
}

impl Lines<'_> {
    /// What stands before an instruction.
    fn next(&mut self) -> &mut String {
        self.text
            .push_str(if self.begun { "; " } else { "        \"" });
        self.begun = true;
        self.text
    }

    fn end(&mut self) {
        self.text.push_str("\\n\"\n");
        self.begun = false;
    }

    /// A whole line.
    fn whole(&mut self, line: &str) {
        self.next().push_str(line);
        self.end();
    }
}

/// A piece of an instruction.
trait Piece {
    fn put(self, text: &mut String);
}

impl Piece for &str {
    fn put(self, text: &mut String) {
        text.push_str(self);
    }
}

impl Piece for usize {
    fn put(self, text: &mut String) {
        if self >= 10 {
            (self / 10).put(text);
        }
        text.push(char::from(b'0' + (self % 10) as u8));
    }
}

fn put(text: &mut String, line: Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
