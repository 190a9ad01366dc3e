//! Kernels that compute each element for itself.

use planish_kernels::{Affine, Code, Codes, Kernel, KernelSpec, mul_multiplier, reference};
use planish_runtime::{Call, Entry};

use super::values::Values;
use super::{call, same};

/// Every code once, and a rest that fills no register.
const COUNT: usize = 256 + 37;

fn all_codes() -> Vec<u8> {
    (0..COUNT).map(|at| at as u8).collect()
}

/// A table in which every code stands elsewhere.
fn scrambled() -> [u8; 256] {
    std::array::from_fn(|at| (at * 167 + 41) as u8)
}

pub(super) fn binary(kernel: &Kernel, entry: &Entry) -> Result<(), String> {
    let mut values = Values::new(21);
    let x = all_codes();
    for (zeros, codes) in [([0, 255], Codes::u8(9)), ([121, 64], Codes::u8(128).relu())] {
        let y = values.codes(COUNT, 64);
        // Scales of which many sums lie halfway between two codes.
        let [x_quant, y_quant] =
            [(0.0625, zeros[0]), (0.03125, zeros[1])].map(|(scale, zero)| Affine { scale, zero });
        let scale = 0.125;
        let mut out = vec![0xa5; COUNT];
        call(
            entry,
            Call::Binary {
                x: &x,
                x_quant,
                y: &y,
                y_quant,
                scale,
                codes,
                out: &mut out,
            },
        )?;
        let expected = if *kernel.spec() == KernelSpec::Add {
            let [x, y] = [(&x, x_quant), (&y, y_quant)]
                .map(|(codes, quant)| (codes.as_slice(), quant.scale, quant.zero));
            reference::add(x, y, scale, codes)
        } else {
            let multiplier = mul_multiplier(x_quant.scale, y_quant.scale, scale);
            reference::mul((&x, x_quant.zero), (&y, y_quant.zero), multiplier, codes)
        };
        same(&out, &expected)?;
    }
    Ok(())
}

pub(super) fn part(entry: &Entry) -> Result<(), String> {
    const PIECES: usize = 3;
    let (inner, step, offset) = (70, 101, 13);
    let (x, table) = (Values::new(22).codes(PIECES * inner, 0), scrambled());
    let mut out = vec![0xa5; PIECES * step];
    let mut expected = out.clone();
    for (piece, x) in x.chunks_exact(inner).enumerate() {
        for (at, code) in x.iter().enumerate() {
            expected[piece * step + offset + at] = table[usize::from(*code)];
        }
    }
    call(
        entry,
        Call::Part {
            x: &x,
            table: &table,
            inner,
            step,
            offset,
            out: &mut out,
        },
    )?;
    same(&out, &expected)
}

pub(super) fn table(entry: &Entry) -> Result<(), String> {
    let (x, table) = (all_codes(), scrambled());
    let mut out = vec![0xa5; COUNT];
    call(
        entry,
        Call::Table {
            x: &x,
            table: &table,
            out: &mut out,
        },
    )?;
    let expected: Vec<u8> = x.iter().map(|code| table[usize::from(*code)]).collect();
    same(&out, &expected)
}

pub(super) fn quantize(code: Code, entry: &Entry) -> Result<(), String> {
    let scale = 0.25;
    let codes = match code {
        Code::U8 => Codes::u8(100),
        Code::S8 => Codes::s8(-5),
    };
    // Ties, both ends and beyond, and what is no number.
    let mut x: Vec<f32> = (-300..300).map(|half| half as f32 * 0.5 * scale).collect();
    x.extend([
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -0.0,
        f32::MIN_POSITIVE,
        1e30,
        -1e30,
    ]);
    let mut out = vec![0xa5; x.len()];
    call(
        entry,
        Call::Quantize {
            x: &x,
            scale,
            codes,
            out: &mut out,
        },
    )?;
    same(&out, &reference::quantize(&x, scale, codes))
}

pub(super) fn dequantize(code: Code, entry: &Entry) -> Result<(), String> {
    let (x, scale) = (all_codes(), 0.1);
    let zero = match code {
        Code::U8 => 130,
        Code::S8 => -7,
    };
    let mut out = vec![f32::NAN; COUNT];
    let quant = Affine { scale, zero };
    call(
        entry,
        Call::Dequantize {
            x: &x,
            quant,
            out: &mut out,
        },
    )?;
    let number = |byte: u8| match code {
        Code::U8 => i32::from(byte),
        Code::S8 => i32::from(byte.cast_signed()),
    };
    let bits = |reals: &[f32]| reals.iter().map(|real| real.to_bits()).collect::<Vec<_>>();
    let expected: Vec<f32> = x
        .iter()
        .map(|byte| (number(*byte) - zero) as f32 * scale)
        .collect();
    same(&bits(&out), &bits(&expected))
}
