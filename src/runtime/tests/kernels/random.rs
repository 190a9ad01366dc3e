//! Numbers that look random and are the same in every run.

/// A generator (xorshift64*).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((self.next() >> 32) * end) >> 32
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// Codes of the whole range, with many at its ends.
    pub(crate) fn codes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| match self.below(8) {
                0 => 0,
                1 => 255,
                _ => self.below(256) as u8,
            })
            .collect()
    }

    /// Weights of the whole range, with many at its ends.
    pub(crate) fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count)
            .map(|_| match self.below(8) {
                0 => -128,
                1 => 127,
                _ => self.below(256) as u8 as i8,
            })
            .collect()
    }

    /// A real number between −1 and 1.
    pub(crate) fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `2^-k` or a neighbour of it: products with integers are ties, or just miss them.
    pub(crate) fn near_power(&mut self, k: std::ops::Range<u64>) -> f32 {
        let k = k.start + self.below(k.end - k.start);
        let bits = (0.5_f32).powi(k as i32).to_bits();
        f32::from_bits(bits + self.below(3) as u32 - 1)
    }
}
