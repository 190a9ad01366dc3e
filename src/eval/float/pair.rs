//! Sums of two floats, which together carry about 48 bits.
//!
//! The steps and their order are those of SLEEF's double-float arithmetic on processors with fused multiplication (Shibata and Petrogalli,
//! 2019): every rounding counts, for the functions built on them are exact to the bit.

/// An unevaluated sum, the larger part first.
#[derive(Clone, Copy)]
pub(super) struct Pair(pub(super) f32, pub(super) f32);

impl Pair {
    /// A pair that is one float.
    pub(super) fn of(value: f32) -> Self {
        Self(value, 0.0)
    }

    /// The sum of two floats, the larger first.
    pub(super) fn quick(x: f32, y: f32) -> Self {
        let sum = x + y;
        Self(sum, (x - sum) + y)
    }

    /// The sum of two floats in any order.
    pub(super) fn sum(x: f32, y: f32) -> Self {
        let (sum, rest) = two_sum(x, y);
        Self(sum, rest)
    }

    pub(super) fn value(self) -> f32 {
        self.0 + self.1
    }

    pub(super) fn times(self, factor: f32) -> Self {
        Self(self.0 * factor, self.1 * factor)
    }

    /// Adds a float that is not larger.
    pub(super) fn plus(self, y: f32) -> Self {
        let sum = self.0 + y;
        Self(sum, ((self.0 - sum) + y) + self.1)
    }

    /// Adds a float of any size.
    pub(super) fn plus_any(self, y: f32) -> Self {
        let (sum, rest) = two_sum(self.0, y);
        Self(sum, rest + self.1)
    }

    /// Adds a pair that is not larger.
    pub(super) fn plus_pair(self, y: Self) -> Self {
        let sum = self.0 + y.0;
        Self(sum, (((self.0 - sum) + y.0) + self.1) + y.1)
    }

    /// Adds a pair of any size.
    pub(super) fn plus_any_pair(self, y: Self) -> Self {
        let (sum, rest) = two_sum(self.0, y.0);
        Self(sum, rest + (self.1 + y.1))
    }

    /// Adds to a float that is not smaller.
    pub(super) fn onto(self, x: f32) -> Self {
        let sum = x + self.0;
        Self(sum, ((x - sum) + self.0) + self.1)
    }

    pub(super) fn minus(self) -> Self {
        Self(-self.0, -self.1)
    }

    pub(super) fn mul(self, y: f32) -> Self {
        let product = self.0 * y;
        Self(product, self.1.mul_add(y, self.0.mul_add(y, -product)))
    }

    pub(super) fn mul_pair(self, y: Self) -> Self {
        let product = self.0 * y.0;
        let rest = self.1.mul_add(y.0, self.0.mul_add(y.0, -product));
        Self(product, self.0.mul_add(y.1, rest))
    }

    pub(super) fn squared(self) -> Self {
        let product = self.0 * self.0;
        let rest = self.0.mul_add(self.0, -product);
        Self(product, (self.0 + self.0).mul_add(self.1, rest))
    }

    pub(super) fn div(self, by: Self) -> Self {
        let inverse = 1.0 / by.0;
        let quotient = self.0 * inverse;
        let rest = inverse.mul_add(self.0, -quotient);
        let short = (-by.1).mul_add(inverse, (-by.0).mul_add(inverse, 1.0));
        Self(
            quotient,
            quotient.mul_add(short, self.1.mul_add(inverse, rest)),
        )
    }

    pub(super) fn inverse(self) -> Self {
        let inverse = 1.0 / self.0;
        let short = (-self.1).mul_add(inverse, (-self.0).mul_add(inverse, 1.0));
        Self(inverse, inverse * short)
    }
}

/// The rounded sum and what rounding took.
fn two_sum(x: f32, y: f32) -> (f32, f32) {
    let sum = x + y;
    let v = sum - x;
    (sum, (x - (sum - v)) + (y - v))
}
