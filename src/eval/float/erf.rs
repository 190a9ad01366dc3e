//! The error function, and the activation made of it.

use super::exp::{exp, exp_single};

/// `erf` of PyTorch's vectors: formula 7.1.26 of Abramowitz and Stegun.
pub(crate) fn erf(x: f32) -> f32 {
    let t = 1.0 / 0.327_591_1f32.mul_add(x.abs(), 1.0);
    let mut r = 1.061_405_4_f32;
    for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        r = r.mul_add(t, c);
    }
    let near_one = (-exp(-(x * x)) * t).mul_add(r, 1.0);
    f32::from_bits(near_one.to_bits() ^ (x.to_bits() & 0x8000_0000))
}

/// `erf` where PyTorch computes one element at a time: the C library's `erff` (Sun Microsystems, 1993).
pub(crate) fn erf_single(x: f32) -> f32 {
    const NEAR_ONE: f32 = 8.450_629e-1;
    let size = x.abs();
    if x.is_nan() {
        return x;
    }
    if size < 0.843_75 {
        if size < 2f32.powi(-28) {
            return if size.to_bits() < 0x0400_0000 {
                0.0625 * (16.0 * x + (16.0 * 1.283_791_7e-1) * x)
            } else {
                x + 1.283_791_7e-1 * x
            };
        }
        let z = x * x;
        let r = horner(
            z,
            &[
                1.283_791_7e-1,
                -3.250_421e-1,
                -2.848_175e-2,
                -5.770_270_2e-3,
                -2.376_301_7e-5,
            ],
        );
        let s = horner(
            z,
            &[
                1.0,
                3.979_172e-1,
                6.502_225e-2,
                5.081_306e-3,
                1.324_947_4e-4,
                -3.960_228_2e-6,
            ],
        );
        return x + x * (r / s);
    }
    let value = if size < 1.25 {
        let s = size - 1.0;
        let p = horner(
            s,
            &[
                -2.362_118_6e-3,
                4.148_561e-1,
                -3.722_078_8e-1,
                3.183_466_2e-1,
                -1.108_946_95e-1,
                3.547_830_5e-2,
                -2.166_375_5e-3,
            ],
        );
        let q = horner(
            s,
            &[
                1.0,
                1.064_208_8e-1,
                5.403_979_4e-1,
                7.182_865_6e-2,
                1.261_712_1e-1,
                1.363_708_4e-2,
                1.198_45e-2,
            ],
        );
        NEAR_ONE + p / q
    } else if size >= 6.0 {
        1.0
    } else {
        let s = 1.0 / (size * size);
        let (r, q) = if size.to_bits() < 0x4036_db6e {
            (
                horner(
                    s,
                    &[
                        -9.864_944e-3,
                        -6.938_585_6e-1,
                        -1.055_862_6e1,
                        -6.237_533e1,
                        -1.623_966_7e2,
                        -1.846_050_9e2,
                        -8.128_744e1,
                        -9.814_329,
                    ],
                ),
                horner(
                    s,
                    &[
                        1.0,
                        1.965_127_2e1,
                        1.376_577_6e2,
                        4.345_659e2,
                        6.453_872_7e2,
                        4.290_081_5e2,
                        1.086_35e2,
                        6.570_249_6,
                        -6.042_441_4e-2,
                    ],
                ),
            )
        } else {
            (
                horner(
                    s,
                    &[
                        -9.864_943e-3,
                        -7.992_832_7e-1,
                        -1.775_795_6e1,
                        -1.606_363_8e2,
                        -6.375_664_7e2,
                        -1.025_095_1e3,
                        -4.835_192e2,
                    ],
                ),
                horner(
                    s,
                    &[
                        1.0,
                        3.033_806e1,
                        3.257_925e2,
                        1.536_729_6e3,
                        3.199_858_2e3,
                        2.553_050_3e3,
                        4.745_285_3e2,
                        -2.244_095_2e1,
                    ],
                ),
            )
        };
        let z = f32::from_bits(size.to_bits() & 0xffff_f000);
        let tail = exp_single(-z * z - 0.5625) * exp_single((z - size) * (z + size) + r / q);
        1.0 - tail / size
    };
    if x < 0.0 { -value } else { value }
}

fn horner(x: f32, powers: &[f32]) -> f32 {
    powers
        .iter()
        .rev()
        .copied()
        .reduce(|sum, c| c + x * sum)
        .unwrap_or(0.0)
}

/// `gelu` of dense tensors, which PyTorch leaves to oneDNN: `erf(x/√2)` by one of 25 polynomials for `|x|`.
pub(crate) fn gelu(x: f32) -> f32 {
    /// From here on the polynomial is 1.
    const BOUND: f32 = 5.542_594;
    let size = x.abs();
    // Four polynomials for each power of two.
    let index = (size
        .to_bits()
        .cast_signed()
        .wrapping_add(0xc21f_ffff_u32.cast_signed())
        >> 21)
        .clamp(1, 24);
    let index = if size > BOUND { 23 } else { index };
    let powers = POLYNOMIALS[index as usize].map(f32::from_bits);
    let polynomial = powers
        .iter()
        .rev()
        .copied()
        .reduce(|sum, c| sum.mul_add(size, c))
        .unwrap_or(0.0);
    let erf = f32::from_bits(polynomial.to_bits() ^ (x.to_bits() & 0x8000_0000));
    x * (erf + 1.0) * 0.5
}

/// Bits of the coefficients from degree 0 to 5 (oneDNN, `jit_uni_eltwise_injector`).
#[rustfmt::skip]
const POLYNOMIALS: [[u32; 6]; 25] = [
    [0xa6f2_cb94, 0x3f4c_422a, 0xb621_73f4, 0xbe08_1a19, 0xba3d_61db, 0x3cb7_d80c],
    [0x3282_7792, 0x3f4c_421f, 0x3735_e4cf, 0xbe08_4570, 0x39f0_97a3, 0x3c9b_6050],
    [0x3381_cc0c, 0x3f4c_4207, 0x37f2_ff89, 0xbe08_639b, 0x3a58_45dc, 0x3c97_8d11],
    [0x3452_3d4a, 0x3f4c_41cb, 0x388c_23be, 0xbe08_9837, 0x3ab1_fa35, 0x3c92_e850],
    [0x351a_c44d, 0x3f4c_413b, 0x3917_535c, 0xbe08_f409, 0x3b0c_efb8, 0x3c8d_058b],
    [0x35f3_6d88, 0x3f4c_3fad, 0x39ab_2ab0, 0xbe09_ab95, 0x3b65_3ab6, 0x3c84_8454],
    [0x36ee_8229, 0x3f4c_3a2f, 0x3a60_fadb, 0xbe0b_66d0, 0x3bca_e527, 0x3c6c_d623],
    [0x37b8_a3bb, 0x3f4c_2d40, 0x3af9_b960, 0xbe0e_400a, 0x3c22_1712, 0x3c4c_824b],
    [0x3867_a213, 0x3f4c_146a, 0x3b6e_5491, 0xbe12_4df8, 0x3c6c_5840, 0x3c2a_7935],
    [0x3940_033b, 0x3f4b_c341, 0x3c0a_4ec5, 0xbe1b_de02, 0x3cc0_a703, 0x3be0_b390],
    [0x3a2a_5a1d, 0x3f4a_d08c, 0x3ca5_aa8c, 0xbe2f_19c9, 0x3d1d_cc19, 0x3b06_51ac],
    [0x3ae3_5863, 0x3f48_f8cf, 0x3d21_38d9, 0xbe49_31bf, 0x3d63_656d, 0xbb23_2f53],
    [0x3b78_28f2, 0x3f45_fac7, 0x3d87_37d4, 0xbe68_5fbc, 0x3d95_5907, 0xbbd4_2fa0],
    [0x3c08_b14b, 0x3f40_4e07, 0x3ddf_b660, 0xbe89_c95f, 0x3dbf_9910, 0xbc2c_5366],
    [0x3c51_5ed3, 0x3f3b_980f, 0x3e0f_27ab, 0xbe96_cbca, 0x3dd5_3f69, 0xbc49_2c9e],
    [0xbb50_3236, 0x3f48_dff3, 0x3d94_004b, 0xbe80_44aa, 0x3db7_dcef, 0xbc2a_7aa6],
    [0xbd8d_8e5e, 0x3f78_b21b, 0xbe0e_fdeb, 0xbe05_50f2, 0x3d63_9ebe, 0xbbd5_5d04],
    [0xbe8a_bcd9, 0x3fbb_0704, 0xbf1d_96c3, 0x3dcf_d6a1, 0xba6e_de48, 0xba82_3a76],
    [0xbf0c_19a2, 0x4001_9c32, 0xbf89_db58, 0x3e94_c826, 0xbd22_be69, 0x3b10_2aa8],
    [0xbecc_b328, 0x3fe5_36d6, 0xbf6d_9897, 0x3e79_345f, 0xbd04_1cf1, 0x3ae2_5a7e],
    [0x3e17_6ced, 0x3f81_331e, 0xbef6_9fb8, 0x3dec_ec91, 0xbc64_f5ab, 0x3a31_f792],
    [0x3f47_0d99, 0x3e6c_8684, 0xbdc4_f8a8, 0x3ca4_6568, 0xbb09_7a32, 0x38b8_4375],
    [0x3f7a_bb28, 0x3c98_f936, 0xbbde_6422, 0x3aa1_e00a, 0xb8eb_f380, 0x3689_bb5a],
    [0x3f80_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000],
    [0x0000_0000, 0x3f80_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000, 0x0000_0000],];
