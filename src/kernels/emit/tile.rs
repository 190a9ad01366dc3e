//! The inner loop of convolutions and linear layers: a tile of pixels by blocks of 16 output channels, held in registers.

use std::fmt::Write as _;

/// Blocks of a full tile: 64 channels, four weight registers for each pixel that is loaded.
const BLOCKS: usize = 4;

/// Tiles for `blocks` blocks of outputs and runs of `run` weights, and the function that chooses among them.
pub(super) fn tiles(blocks: usize, run: usize) -> String {
    let full = blocks.min(BLOCKS);
    let rest = match blocks % full {
        0 => full,
        rest => rest,
    };
    let mut text = FINISH.to_owned();
    let shapes = if rest == full {
        vec![full]
    } else {
        vec![full, rest]
    };
    for &blocks in &shapes {
        for pixels in [pixels(blocks), 1] {
            tile(&mut text, pixels, blocks, run);
        }
    }
    for (name, value) in [
        ("BLOCKS", full),
        ("REST", rest),
        ("PIXELS", pixels(full)),
        ("REST_PIXELS", pixels(rest)),
        ("MOST_PIXELS", pixels(full).max(pixels(rest))),
    ] {
        put(&mut text, format_args!("#define {name} {value}"));
    }
    put(&mut text, format_args!("\n/* {COUNT} */"));
    put(
        &mut text,
        format_args!("static inline void tile({PARAMETERS})\n{{"),
    );
    for (index, &blocks) in shapes.iter().enumerate() {
        let last = index + 1 == shapes.len();
        let indent = if last { "    " } else { "        " };
        if !last {
            put(&mut text, format_args!("    if (width > {rest} * 16) {{"));
        }
        put(&mut text, format_args!("{indent}if (count == 1)"));
        put(
            &mut text,
            format_args!("{indent}    tile_1x{blocks}({ARGUMENTS});"),
        );
        put(&mut text, format_args!("{indent}else"));
        put(
            &mut text,
            format_args!("{indent}    tile_{}x{blocks}({ARGUMENTS});", pixels(blocks)),
        );
        if !last {
            put(&mut text, format_args!("        return;\n    }}"));
        }
    }
    text.push_str("}\n");
    text
}

const FINISH: &str = include_str!("c/finish.avx512vnni.c");
const PARAMETERS: &str = "const struct planish_args *a, const u8 *const *x, i64 row, i64 slot, u8 *out, i64 count, i64 width";
const ARGUMENTS: &str = "a, x, row, slot, out, count, width";
const COUNT: &str =
    "Of the tile's pixels the first `count` are stored, of its channels the first `width`.";

/// Pixels of a tile: sums, weights, one pixel and the bounds fit 32 registers, and the pointers to the pixels fit the others.
fn pixels(blocks: usize) -> usize {
    match blocks {
        4 => 6,
        _ => 8,
    }
}

/// One tile.
fn tile(text: &mut String, pixels: usize, blocks: usize, run: usize) {
    let quads = run.div_ceil(4);
    put(
        text,
        format_args!("/* {pixels} pixels by {blocks} x 16 channels. */"),
    );
    put(
        text,
        format_args!("static void tile_{pixels}x{blocks}({PARAMETERS})\n{{"),
    );
    put(
        text,
        format_args!(
            "    const u8 *w = a->weights + SLOTS * 4 + slot * (KH * RUNS_X * {}L);",
            quads * 4
        ),
    );
    put(text, format_args!("    const v16i zero = all(-a->zx);"));
    for block in 0..blocks {
        put(
            text,
            format_args!(
                "    v16i s0_{block} = load(a->weights + slot * 4 + {}) * zero;",
                block * 64
            ),
        );
    }
    for pixel in 1..pixels {
        let sums: Vec<_> = (0..blocks)
            .map(|block| format!("s{pixel}_{block} = s0_{block}"))
            .collect();
        put(text, format_args!("    v16i {};", sums.join(", ")));
    }
    put(text, format_args!("    for (i64 ky = 0; ky < KH; ky++)"));
    put(
        text,
        format_args!("        for (i64 kx = 0; kx < RUNS_X; kx++) {{"),
    );
    put(
        text,
        format_args!("            const i64 at = ky * row + kx * (DW * IC);"),
    );
    for pixel in 0..pixels {
        put(
            text,
            format_args!("            const u8 *x{pixel} = x[{pixel}] + at;"),
        );
    }
    if run >= 4 {
        put(
            text,
            format_args!(
                "            for (i64 k = 0; k < {}; k += 4) {{",
                run / 4 * 4
            ),
        );
        let all_four = |pixel| format!("FOUR(q, x{pixel} + k);");
        products(text, "                ", pixels, blocks, quads, all_four);
        put(text, format_args!("            }}"));
    }
    if !run.is_multiple_of(4) {
        put(
            text,
            format_args!(
                "            /* The run ends inside a quad; behind it the image may end. */"
            ),
        );
        let begin = run / 4 * 4;
        products(text, "            ", pixels, blocks, quads, |pixel| {
            let bytes: Vec<_> = (0..run % 4)
                .map(|byte| {
                    format!(
                        "x{pixel}[{}]{}",
                        begin + byte,
                        ["", " << 8", " << 16"][byte]
                    )
                })
                .collect();
            format!("q = all({});", bytes.join(" | "))
        });
    }
    put(text, format_args!("        }}"));
    let sums: Vec<_> = (0..blocks)
        .flat_map(|block| (0..pixels).map(move |pixel| format!("s{pixel}_{block}")))
        .collect();
    put(
        text,
        format_args!("    const v16i sums[] = {{ {} }};", sums.join(", ")),
    );
    put(
        text,
        format_args!("    finish(a, sums, {blocks}, {pixels}, slot, out, count, width);\n}}\n"),
    );
}

/// One quad of every pixel times one quad of every block.
fn products(
    text: &mut String,
    indent: &str,
    pixels: usize,
    blocks: usize,
    quads: usize,
    quad: impl Fn(usize) -> String,
) {
    let weights: Vec<_> = (0..blocks)
        .map(|block| {
            format!(
                "w{block} = load(w + {block} * (KH * RUNS_X * {}L))",
                quads * 64
            )
        })
        .collect();
    put(
        text,
        format_args!("{indent}const v16i {};", weights.join(", ")),
    );
    put(text, format_args!("{indent}v16i q;"));
    for pixel in 0..pixels {
        let sums: Vec<_> = (0..blocks)
            .map(|block| format!("DOT(s{pixel}_{block}, q, w{block});"))
            .collect();
        put(
            text,
            format_args!("{indent}{} {}", quad(pixel), sums.join(" ")),
        );
    }
    put(text, format_args!("{indent}w += 64;"));
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{line}");
}
