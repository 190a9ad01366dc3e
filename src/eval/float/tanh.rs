//! The hyperbolic tangent.

use super::exp::exp_pair;
use super::pair::Pair;

/// `tanh` of PyTorch's vectors: SLEEF's `tanhf_u10`.
pub(crate) fn tanh(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let size = x.abs();
    // From here on the result rounds to 1.
    if size > 8.664_34 {
        return 1f32.copysign(x);
    }
    let up = exp_pair(Pair::of(size));
    let down = up.inverse();
    let quotient = up.plus_pair(down.minus()).div(up.plus_pair(down));
    quotient.value().copysign(x)
}

/// `tanh` where PyTorch computes one element at a time: the C library's `tanhf` (Sun Microsystems, 1993).
pub(crate) fn tanh_single(x: f32) -> f32 {
    let size = x.abs();
    if x.is_nan() {
        return x;
    }
    let value = if size >= 22.0 {
        1.0
    } else if size < 2f32.powi(-55) {
        return x * (1.0 + x);
    } else if size >= 1.0 {
        1.0 - 2.0 / (exp_m1_single(2.0 * size) + 2.0)
    } else {
        let t = exp_m1_single(-2.0 * size);
        -t / (t + 2.0)
    };
    if x < 0.0 { -value } else { value }
}

/// `exp(x) - 1` where PyTorch computes one element at a time: the C library's `expm1f` (Sun Microsystems, 1993).
pub(crate) fn exp_m1_single(x: f32) -> f32 {
    const LN2_HIGH: f32 = 6.931_381e-1;
    const LN2_LOW: f32 = 9.058_001e-6;
    let size = x.abs().to_bits();
    let negative = x.is_sign_negative();
    if x.is_nan() {
        return x;
    }
    // 27 ln 2
    if size >= 0x4195_b844 {
        if negative {
            return -1.0;
        }
        if x > 8.872_168e1 {
            return f32::INFINITY;
        }
    }
    let (mut k, mut x, mut rest) = (0i32, x, 0f32);
    if size > 0x3eb1_7218 {
        let (high, low) = if size < 0x3f85_1592 {
            k = if negative { -1 } else { 1 };
            if negative {
                (x + LN2_HIGH, -LN2_LOW)
            } else {
                (x - LN2_HIGH, LN2_LOW)
            }
        } else {
            k = (std::f32::consts::LOG2_E * x + if negative { -0.5 } else { 0.5 }) as i32;
            let whole = k as f32;
            (x - whole * LN2_HIGH, whole * LN2_LOW)
        };
        x = high - low;
        rest = (high - x) - low;
    } else if size < 0x3300_0000 {
        return x;
    }
    let half = 0.5 * x;
    let square = x * half;
    let r = 1.0
        + square
            * (-3.333_333_5e-2
                + square
                    * (1.587_301_6e-3
                        + square
                            * (-7.936_508e-5
                                + square * (4.008_217_7e-6 + square * -2.010_992_1e-7))));
    let t = 3.0 - r * half;
    let mut e = square * ((r - t) / (6.0 - x * t));
    if k == 0 {
        return x - (x * e - square);
    }
    e = x * (e - rest) - rest;
    e -= square;
    // Adds k to the exponent.
    let raised = |y: f32| f32::from_bits(y.to_bits().wrapping_add((k << 23).cast_unsigned()));
    match k {
        -1 => 0.5 * (x - e) - 0.5,
        1 if x < -0.25 => -2.0 * (e - (x + 0.5)),
        1 => 1.0 + 2.0 * (x - e),
        _ if k <= -2 || k > 56 => raised(1.0 - (e - x)) - 1.0,
        _ if k < 23 => raised(f32::from_bits(0x3f80_0000 - (0x0100_0000 >> k)) - (e - x)),
        _ => raised((x - (e + f32::from_bits(((0x7f - k) << 23).cast_unsigned()))) + 1.0),
    }
}
