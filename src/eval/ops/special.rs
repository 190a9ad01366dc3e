//! Special functions that the standard library lacks.

/// The error function, to about double precision.
pub(super) fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    let y = x.abs();
    // A power series near zero, a continued fraction far from it.
    let value = if y < 2.5 { series(y) } else { 1.0 - tail(y) };
    value.copysign(x)
}

/// One minus the error function, exact for large arguments too.
pub(super) fn erfc(x: f64) -> f64 {
    if x < 2.5 { 1.0 - erf(x) } else { tail(x) }
}

/// `2/√π · Σ (-1)ⁿ x^(2n+1) / (n! (2n+1))`, summed in the form whose terms are all positive.
fn series(x: f64) -> f64 {
    // erf(x) = 2/√π · exp(-x²) · Σ 2ⁿ x^(2n+1) / (1·3·…·(2n+1))
    let mut term = x;
    let mut sum = x;
    let mut n = 0.0;
    while term > sum * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// `exp(-x²)/√π · 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + …))))`
fn tail(x: f64) -> f64 {
    let mut fraction = x;
    for n in (1..=60).rev() {
        fraction = x + f64::from(n) / 2.0 / fraction;
    }
    (-x * x).exp() / (std::f64::consts::PI.sqrt() * fraction)
}

/// The logarithm of the absolute value of the gamma function: Lanczos' approximation, mirrored for negative numbers.
pub(super) fn log_gamma(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x.is_nan() || x.is_infinite() {
        return x.abs();
    }
    if x < 0.5 {
        let sine = (PI * (x - 2.0 * (x / 2.0).round())).sin().abs();
        return if x.fract() == 0.0 {
            f64::INFINITY
        } else {
            (PI / sine).ln() - log_gamma(1.0 - x)
        };
    }
    let x = x - 1.0;
    let sum = LANCZOS[1..]
        .iter()
        .zip(1..)
        .fold(LANCZOS[0], |sum, (c, at)| sum + c / (x + f64::from(at)));
    let t = x + 7.5;
    (2.0 * PI).sqrt().ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// Coefficients for g = 7, n = 9 (Godfrey).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// The derivative of [`log_gamma`]: by its recurrence up to 10, from there by the asymptotic series.
pub(super) fn digamma(mut x: f64) -> f64 {
    use std::f64::consts::PI;
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        return if x.fract() == 0.0 {
            f64::NAN
        } else {
            digamma(1.0 - x) - PI / (PI * x.fract()).tan()
        };
    }
    let mut sum = 0.0;
    while x < 10.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    if x.is_infinite() {
        return x;
    }
    let z = 1.0 / (x * x);
    // Bernoulli numbers over twice their index.
    let series = [
        1.0 / 12.0,
        -1.0 / 120.0,
        1.0 / 252.0,
        -1.0 / 240.0,
        1.0 / 132.0,
        -691.0 / 32_760.0,
        1.0 / 12.0,
    ];
    let tail = series.iter().rev().fold(0.0, |tail, c| (tail + c) * z);
    sum + x.ln() - 0.5 / x - tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_has_its_tabulated_values() {
        // Abramowitz and Stegun, table 7.1.
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_8),
            (1.0, 0.842_700_792_9),
            (2.0, 0.995_322_265_0),
            (3.0, 0.999_977_909_5),
        ] {
            assert!((erf(x) - value).abs() < 1e-10, "{x}");
            assert!((erf(-x) + value).abs() < 1e-10, "{x}");
        }
        assert!((erf(2.499_999) - erf(2.500_001)).abs() < 1e-6);
        assert!((erfc(4.0) - 1.541_725_790_028_002e-8).abs() < 1e-20);
    }

    #[test]
    fn the_gamma_function_has_its_known_values() {
        use std::f64::consts::PI;
        assert!(log_gamma(1.0).abs() < 1e-13 && log_gamma(2.0).abs() < 1e-13);
        assert!((log_gamma(11.0) - 3_628_800f64.ln()).abs() < 1e-11);
        assert!((log_gamma(0.5) - PI.sqrt().ln()).abs() < 1e-13);
        assert!((log_gamma(-0.5) - (2.0 * PI.sqrt()).ln()).abs() < 1e-13);
        assert!(log_gamma(-3.0).is_infinite());
        let euler = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + euler).abs() < 1e-13);
        assert!((digamma(-0.5) - 0.036_489_973_978_576_52).abs() < 1e-12);
        assert!(digamma(-2.0).is_nan() && digamma(0.0) == f64::NEG_INFINITY);
    }
}
