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
}
