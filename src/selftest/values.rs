//! Values to try kernels with: those at which something changes, and chance.

/// A generator with a fixed start: every trial is the same.
pub(super) struct Values(u64);

impl Values {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(super) fn next(&mut self) -> u32 {
        // Knuth's multiplier; the upper half is the better one.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Codes, a quarter of them at the ends, in the middle, or at the zero point.
    pub(super) fn codes(&mut self, count: usize, zero: u8) -> Vec<u8> {
        let mut code = || {
            let chance = self.next();
            match chance >> 29 {
                0 => [0, 255, 127, 128][chance as usize % 4],
                1 => zero,
                _ => chance as u8,
            }
        };
        (0..count).map(|_| code()).collect()
    }

    /// Weights, a quarter of them at the ends.
    pub(super) fn weights(&mut self, count: usize) -> Vec<i8> {
        let mut weight = || {
            let chance = self.next();
            match chance >> 30 {
                0 => [-128, 127][chance as usize % 2],
                _ => chance as i8,
            }
        };
        (0..count).map(|_| weight()).collect()
    }

    /// A number between −1 and 1.
    pub(super) fn real(&mut self) -> f32 {
        self.next().cast_signed() as f32 / i32::MAX as f32
    }
}
