//! Operators that look at elements one by one, and copies.

use planish_kernels::reference;
use planish_kernels::{Affine, Code, Codes, KernelSpec, Layout, mul_multiplier, requantize_table};
use planish_runtime::Call;

use crate::compile::{entry, isas};
use crate::guarded::Guarded;
use crate::random::Random;

/// Lengths around the blocks of 64 in which `add` changes its formula.
const LENGTHS: [usize; 9] = [0, 1, 15, 63, 64, 65, 127, 128, 1000];

fn quantization(random: &mut Random) -> Affine {
    let scale = if random.below(2) == 0 {
        random.near_power(0..4)
    } else {
        (random.real() + 1.001) / 10.0
    };
    Affine {
        scale,
        zero: random.pick(&[0, 1, 77, 128, 255]),
    }
}

#[test]
fn add_and_mul() {
    for isa in isas() {
        let (add, mul) = (entry(KernelSpec::Add, isa), entry(KernelSpec::Mul, isa));
        let mut random = Random::new(11);
        for round in 0..200 {
            let count = LENGTHS[round % LENGTHS.len()];
            let (x, y) = (
                Guarded::new(&random.codes(count)),
                Guarded::new(&random.codes(count)),
            );
            let (x_quant, y_quant) = (quantization(&mut random), quantization(&mut random));
            let Affine { scale, zero } = quantization(&mut random);
            let codes = if random.below(2) == 0 {
                Codes::u8(zero)
            } else {
                Codes::u8(zero).relu()
            };
            let sum = reference::add(
                (&x, x_quant.scale, x_quant.zero),
                (&y, y_quant.scale, y_quant.zero),
                scale,
                codes,
            );
            let multiplier = mul_multiplier(x_quant.scale, y_quant.scale, scale);
            let product = reference::mul((&x, x_quant.zero), (&y, y_quant.zero), multiplier, codes);
            for (entry, expected) in [(&add, sum), (&mul, product)] {
                let mut out = Guarded::filled(0xaa, count);
                entry
                    .call(Call::Binary {
                        x: &x,
                        x_quant,
                        y: &y,
                        y_quant,
                        scale,
                        codes,
                        out: &mut out,
                    })
                    .unwrap();
                assert_eq!(
                    *out,
                    expected,
                    "{}: {x_quant:?} {y_quant:?} {scale} {codes:?}",
                    entry.kernel()
                );
            }
        }
    }
}

/// The two formulas of `add` give different codes somewhere, so the tests above do tell them apart.
#[test]
fn the_two_formulas_of_add_differ() {
    let mut random = Random::new(5);
    let differ = (0..2000).any(|_| {
        let (x, y) = (random.codes(64), random.codes(64));
        let (x_quant, y_quant) = (quantization(&mut random), quantization(&mut random));
        let add = |x: &[u8], y: &[u8]| {
            reference::add(
                (x, x_quant.scale, x_quant.zero),
                (y, y_quant.scale, y_quant.zero),
                0.01,
                Codes::u8(128),
            )
        };
        let whole = add(&x, &y);
        whole != [add(&x[..32], &y[..32]), add(&x[32..], &y[32..])].concat()
    });
    assert!(differ);
}

#[test]
fn tables_and_concatenation() {
    let table = requantize_table(
        Affine {
            scale: 0.5,
            zero: 3,
        },
        Affine {
            scale: 0.3,
            zero: 200,
        },
    );
    let identity: [u8; 256] = std::array::from_fn(|code| code as u8);
    for isa in isas() {
        let (lut, cat) = (entry(KernelSpec::Lut, isa), entry(KernelSpec::Cat, isa));
        let mut random = Random::new(2);
        let x = random.codes(999);
        let mut out = vec![0; 999];
        lut.call(Call::Table {
            x: &x,
            table: &table,
            out: &mut out,
        })
        .unwrap();
        assert!(
            x.iter()
                .zip(&out)
                .all(|(x, out)| *out == table[usize::from(*x)])
        );

        // Channels 5 and 67 of 11 pixels side by side.
        let (a, b) = (random.codes(55), random.codes(11 * 67));
        let mut out = vec![0xaa; 11 * 72];
        cat.call(Call::Part {
            x: &a,
            table: &table,
            inner: 5,
            step: 72,
            offset: 0,
            out: &mut out,
        })
        .unwrap();
        cat.call(Call::Part {
            x: &b,
            table: &identity,
            inner: 67,
            step: 72,
            offset: 5,
            out: &mut out,
        })
        .unwrap();
        for pixel in 0..11 {
            let expected = a[pixel * 5..][..5]
                .iter()
                .map(|code| table[usize::from(*code)])
                .chain(b[pixel * 67..][..67].iter().copied());
            assert!(
                out[pixel * 72..][..72].iter().copied().eq(expected),
                "{isa}"
            );
        }
    }
}

#[test]
fn quantize_and_dequantize() {
    for isa in isas() {
        for (code, codes) in [
            (Code::U8, Codes::u8(113)),
            (Code::S8, Codes::s8(-3)),
            (Code::U8, Codes::u8(0)),
            (Code::S8, Codes::s8(127)),
        ] {
            let (quantize, dequantize) = (
                entry(KernelSpec::Quantize(code), isa),
                entry(KernelSpec::Dequantize(code), isa),
            );
            let mut random = Random::new(13);
            for count in LENGTHS {
                let scale = random.near_power(2..6);
                let mut x: Vec<f32> = (0..count)
                    .map(|_| (random.real() * 600.0).round() / 2.0 * scale)
                    .collect();
                for (to, from) in x.iter_mut().zip([
                    f32::MAX,
                    f32::MIN,
                    f32::INFINITY,
                    f32::NEG_INFINITY,
                    f32::NAN,
                    1e-45,
                    -0.0,
                ]) {
                    *to = from;
                }
                let mut out = Guarded::filled(0xaa, count);
                quantize
                    .call(Call::Quantize {
                        x: &x,
                        scale,
                        codes,
                        out: &mut out,
                    })
                    .unwrap();
                assert_eq!(
                    *out,
                    reference::quantize(&x, scale, codes),
                    "{isa} {codes:?}"
                );

                let mut real = vec![f32::NAN; count];
                let quant = Affine {
                    scale,
                    zero: codes.zero,
                };
                dequantize
                    .call(Call::Dequantize {
                        x: &out,
                        quant,
                        out: &mut real,
                    })
                    .unwrap();
                for (code_bits, real) in out.iter().zip(real) {
                    let value = if code == Code::U8 {
                        i32::from(*code_bits)
                    } else {
                        i32::from(*code_bits as i8)
                    };
                    assert_eq!(
                        real.to_bits(),
                        ((value - codes.zero) as f32 * scale).to_bits()
                    );
                }
            }
        }
    }
}

#[test]
fn relayout() {
    for isa in isas() {
        let to = entry(KernelSpec::Relayout(Layout::NchwToNhwc), isa);
        let back = entry(KernelSpec::Relayout(Layout::NhwcToNchw), isa);
        let mut random = Random::new(17);
        for size in [[1, 1, 1, 1], [2, 5, 7, 3], [1, 40, 9, 70], [3, 1, 1, 33]] {
            let [images, channels, height, width] = size;
            let x = random.codes(images * height * width * channels);
            let (mut out, mut again) = (vec![0; x.len()], vec![0; x.len()]);
            to.call(Call::Relayout {
                x: &x,
                size,
                out: &mut out,
            })
            .unwrap();
            assert_eq!(
                out,
                reference::transpose(&x, images, channels, height * width)
            );
            back.call(Call::Relayout {
                x: &out,
                size,
                out: &mut again,
            })
            .unwrap();
            assert_eq!(again, x);
        }
    }
}
