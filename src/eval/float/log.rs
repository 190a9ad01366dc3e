//! The natural logarithm.

use super::pair::Pair;

/// ln 2 as a sum.
const LN2: Pair = Pair(std::f32::consts::LN_2, -1.904_654_3e-9);

/// `log` of PyTorch's vectors: SLEEF's `logf_u10`.
pub(crate) fn log(x: f32) -> f32 {
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x == 0.0 {
        return f32::NEG_INFINITY;
    }
    if x.is_infinite() {
        return x;
    }
    let power = exponent(x * (1.0 / 0.75));
    // The mantissa, from 3/4 to 3/2.
    let m = mantissa(x);
    let quotient = Pair::sum(-1.0, m).div(Pair::sum(1.0, m));
    series(LN2.mul(power), quotient)
}

/// `log(1 + x)` of PyTorch's vectors: SLEEF's `log1pf_u10`.
pub(crate) fn log1p(x: f32) -> f32 {
    if x < -1.0 {
        return f32::NAN;
    }
    if x == -1.0 {
        return f32::NEG_INFINITY;
    }
    if x == 0.0 || x.is_nan() {
        return x;
    }
    if x > 1e38 {
        return log(x);
    }
    let power = exponent((x + 1.0) * (1.0 / 0.75));
    let unit = (-power).exp2();
    let m = x.mul_add(unit, unit - 1.0);
    series(LN2.mul(power), Pair::of(m).div(Pair::quick(2.0, m)))
}

/// `start + 2·artanh(x)` for a small x.
fn series(start: Pair, x: Pair) -> f32 {
    let square = x.0 * x.0;
    let mut t = 0.302_729_5_f32;
    t = t.mul_add(square, 0.399_610_82);
    t = t.mul_add(square, 0.666_669_5);
    start
        .plus_pair(x.times(2.0))
        .plus((square * x.0) * t)
        .value()
}

/// `floor(log2 x)`
fn exponent(x: f32) -> f32 {
    if x.is_infinite() {
        return 128.0;
    }
    let bits = (x.abs().to_bits() >> 23) as i32;
    if bits == 0 {
        // Denormal numbers: 2^64 times as large they are normal.
        return ((x * 18_446_744_073_709_551_616.0).to_bits() >> 23) as f32 - 127.0 - 64.0;
    }
    (bits - 127) as f32
}

/// The mantissa between 3/4 and 3/2.
fn mantissa(x: f32) -> f32 {
    let normal = if x < f32::MIN_POSITIVE {
        x * 18_446_744_073_709_551_616.0
    } else {
        x
    };
    let fraction = normal.to_bits() & 0x007f_ffff;
    let exponent = if fraction >= 0x0040_0000 { 126 } else { 127 };
    f32::from_bits(fraction | (exponent << 23))
}

/// `log(1 + x)` where PyTorch computes one element at a time: the C library's `log1pf` (Sun Microsystems, 1993).
pub(crate) fn log1p_single(x: f32) -> f32 {
    const LN2_HIGH: f32 = 6.931_381e-1;
    const LN2_LOW: f32 = 9.058_001e-6;
    if x.is_nan() || x == f32::INFINITY {
        return x;
    }
    if x <= -1.0 {
        return if x == -1.0 {
            f32::NEG_INFINITY
        } else {
            f32::NAN
        };
    }
    let size = x.abs().to_bits();
    if size < 0x3100_0000 {
        return if size < 0x2480_0000 {
            x
        } else {
            x - x * x * 0.5
        };
    }
    let bits = x.to_bits().cast_signed();
    let (mut power, mut f, mut mantissa, mut rest) = (0, x, 1, 0.0);
    if bits >= 0x3ed4_13d7 || (bits < 0 && size > 0x3e95_f61f) {
        let u = if bits < 0x5a00_0000 { 1.0 + x } else { x };
        power = (u.to_bits() >> 23) as i32 - 127;
        if bits < 0x5a00_0000 {
            rest = if power > 0 {
                1.0 - (u - x)
            } else {
                x - (u - 1.0)
            } / u;
        }
        mantissa = u.to_bits() & 0x007f_ffff;
        f = if mantissa < 0x0035_04f7 {
            f32::from_bits(mantissa | 0x3f80_0000)
        } else {
            power += 1;
            let half = f32::from_bits(mantissa | 0x3f00_0000);
            mantissa = (0x0080_0000 - mantissa) >> 2;
            half
        } - 1.0;
    }
    let k = power as f32;
    let half = 0.5 * f * f;
    if mantissa == 0 {
        if f == 0.0 {
            return if power == 0 {
                0.0
            } else {
                k * LN2_HIGH + (rest + k * LN2_LOW)
            };
        }
        let r = half * (1.0 - 0.666_666_7 * f);
        return if power == 0 {
            f - r
        } else {
            k * LN2_HIGH - ((r - (k * LN2_LOW + rest)) - f)
        };
    }
    let s = f / (2.0 + f);
    let z = s * s;
    let r = z
        * (6.666_667e-1
            + z * (4e-1
                + z * (2.857_143e-1
                    + z * (2.222_219_9e-1
                        + z * (1.818_357_3e-1 + z * (1.531_383_8e-1 + z * 1.479_819_9e-1))))));
    if power == 0 {
        return f - (half - s * (half + r));
    }
    k * LN2_HIGH - ((half - (s * (half + r) + (k * LN2_LOW + rest))) - f)
}
