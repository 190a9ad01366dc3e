//! The exponential function.

use super::pair::Pair;

/// `1/ln 2`
const INVERSE_LN2: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts; products of the first with whole numbers are exact.
const LN2: [f32; 2] = [0.693_145_75, 1.428_606_8e-6];

/// `exp` of PyTorch's vectors: SLEEF's `expf_u10`.
pub(crate) fn exp(x: f32) -> f32 {
    if x < -104.0 {
        return 0.0;
    }
    if x > 100.0 {
        return f32::INFINITY;
    }
    let whole = (x * INVERSE_LN2).round_ties_even();
    let s = whole.mul_add(-LN2[1], whole.mul_add(-LN2[0], x));
    let mut u = 0.000_198_527_62_f32;
    for c in [
        0.001_393_043_6,
        0.008_333_361,
        0.041_666_485,
        0.166_666_67,
        0.5,
    ] {
        u = u.mul_add(s, c);
    }
    scaled(1.0 + (s * s).mul_add(u, s), whole as i32)
}

/// `exp(x) - 1` of PyTorch's vectors: SLEEF's `expm1f_u10`.
pub(crate) fn exp_m1(x: f32) -> f32 {
    if x > 88.722_84 {
        return f32::INFINITY;
    }
    if x < -16.635_532 {
        return -1.0;
    }
    if x == 0.0 {
        return x;
    }
    exp_pair(Pair::of(x)).plus_any(-1.0).value()
}

/// `exp` of a sum as a sum, of which `tanh` is made: SLEEF's `expk2f`.
pub(super) fn exp_pair(d: Pair) -> Pair {
    let whole = ((d.0 + d.1) * INVERSE_LN2).round_ties_even();
    let s = d.plus_any(whole * -LN2[0]).plus_any(whole * -LN2[1]);
    let mut u = 0.198_096_02e-3_f32;
    for c in [0.139_425_65e-2, 0.833_345_7e-2, 0.416_663_74e-1] {
        u = u.mul_add(s.0, c);
    }
    let t = s.mul(u).plus_any(0.166_666_66);
    let t = s.mul_pair(t).plus_any(0.5);
    let t = s.plus_any_pair(s.squared().mul_pair(t)).onto(1.0);
    if d.0 < -104.0 {
        return Pair(0.0, 0.0);
    }
    Pair(scaled(t.0, whole as i32), scaled(t.1, whole as i32))
}

/// `x · 2^power` in two steps, so that the ends of the range are reached.
fn scaled(x: f32, power: i32) -> f32 {
    let half = power >> 1;
    x * power_of_two(half) * power_of_two(power - half)
}

fn power_of_two(power: i32) -> f32 {
    f32::from_bits(((power + 127) << 23).cast_unsigned())
}

/// `exp` where PyTorch computes one element at a time: the C library's `expf`, with fused multiplication.
pub(crate) fn exp_single(x: f32) -> f32 {
    /// The bits of `2^(i/32)` with `i/32` taken off the exponent.
    const STEPS: [u64; 32] = [
        0x3ff0_0000_0000_0000,
        0x3fef_d9b0_d315_8574,
        0x3fef_b558_6cf9_890f,
        0x3fef_9301_d012_5b51,
        0x3fef_72b8_3c7d_517b,
        0x3fef_5487_3168_b9aa,
        0x3fef_387a_6e75_6238,
        0x3fef_1e9d_f51f_dee1,
        0x3fef_06fe_0a31_b715,
        0x3fee_f1a7_373a_a9cb,
        0x3fee_dea6_4c12_3422,
        0x3fee_ce08_6061_892d,
        0x3fee_bfda_d536_2a27,
        0x3fee_b42b_569d_4f82,
        0x3fee_ab07_dd48_5429,
        0x3fee_a47e_b03a_5585,
        0x3fee_a09e_667f_3bcd,
        0x3fee_9f75_e8ec_5f74,
        0x3fee_a114_73eb_0187,
        0x3fee_a589_994c_ce13,
        0x3fee_ace5_422a_a0db,
        0x3fee_b737_b0cd_c5e5,
        0x3fee_c491_82a3_f090,
        0x3fee_d503_b23e_255d,
        0x3fee_e89f_995a_d3ad,
        0x3fee_ff76_f2fb_5e47,
        0x3fef_199b_dd85_529c,
        0x3fef_3720_dcef_9069,
        0x3fef_5818_dcfb_a487,
        0x3fef_7c97_337b_9b5f,
        0x3fef_a4af_a2a4_90da,
        0x3fef_d076_5b6e_4540,
    ];
    /// 0x1.c6af84b912394p-20, 0x1.ebfce50fac4f3p-13, 0x1.62e42ff0c52d6p-6
    const POWERS: [u64; 3] = [
        0x3ebc_6af8_4b91_2394,
        0x3f2e_bfce_50fa_c4f3,
        0x3f96_2e42_ff0c_52d6,
    ];
    /// 0x1.71547652b82fep+5
    const INVERSE: u64 = 0x4047_1547_652b_82fe;
    if x.is_nan() {
        return x;
    }
    // ln of the largest float, and of half the smallest one.
    if x > 88.722_83 {
        return f32::INFINITY;
    }
    if x < -103.972_08 {
        return 0.0;
    }
    let [a, b, c] = POWERS.map(f64::from_bits);
    let (x, inverse) = (f64::from(x), f64::from_bits(INVERSE));
    let whole = (inverse * x).round_ties_even();
    let r = inverse.mul_add(x, -whole);
    let steps = whole as i64;
    let scale = STEPS[(steps & 31) as usize].wrapping_add(steps.cast_unsigned() << 47);
    let y = a.mul_add(r, b).mul_add(r * r, c.mul_add(r, 1.0));
    (y * f64::from_bits(scale)) as f32
}
