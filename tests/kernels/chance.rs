//! Numbers that look random and are the same everywhere, many of them chosen to tie when they are rounded.

use planish::eval::{MemoryFormat, Tensor};
use planish::ir::DType;

/// `SplitMix64`.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer of `low..=high`.
    pub(crate) fn int(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub(crate) fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.next() as usize % items.len()]
    }

    /// A number of `0..1`.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// A scale: a power of two from `2^low` to `2^high`, exactly or one or two steps beside it, or a third of one, or any number.
    ///
    /// With powers of two most multiplied sums are ties or close to ties, so that the order of roundings shows.
    pub(crate) fn scale(&mut self, low: i32, high: i32) -> f64 {
        let power = 2_f32.powi(self.int(low.into(), high.into()) as i32);
        let scale = match self.int(0, 9) {
            0..=3 => power,
            4..=6 => beside(power, self.int(-2, 2)),
            7 => beside(power * 1.5, self.int(-1, 1)),
            _ => power * (0.6 + self.unit()),
        };
        f64::from(scale)
    }

    /// Two scales and a zero point with which the two ways to dequantize, from the first scale, give different codes of the second.
    pub(crate) fn telling_scales(&mut self) -> (f64, i64, f64) {
        loop {
            let (from, zero, to) = (self.scale(-6, -1), self.zero_point(), self.scale(-6, -1));
            if tells_apart(from as f32, zero, to as f32) {
                return (from, zero, to);
            }
        }
    }

    /// A zero point, often an extreme one.
    pub(crate) fn zero_point(&mut self) -> i64 {
        let any = self.int(0, 255);
        self.one_of(&[0, 255, 128, 127, 1, 254, any, any, any])
    }

    /// A float tensor whose elements are multiples of `scale`, so that quantizing gives any codes.
    pub(crate) fn reals(
        &mut self,
        shape: &[i64],
        format: MemoryFormat,
        scale: f64,
        zero_point: i64,
    ) -> Tensor {
        let numel: i64 = shape.iter().product();
        let values: Vec<f32> = (0..numel)
            .map(|_| (self.int(0, 255) - zero_point) as f32 * scale as f32)
            .collect();
        Tensor::from_slice(DType::Float, shape, &format.strides(shape), &values)
            .expect("the values fill the shape")
    }
}

/// The float `steps` representable numbers above.
pub(crate) fn beside(value: f32, steps: i64) -> f32 {
    f32::from_bits((i64::from(value.to_bits()) + steps) as u32)
}

/// Whether some code is dequantized and quantized again to another code with one rounding than with two.
fn tells_apart(from: f32, zero: i64, to: f32) -> bool {
    let zero = zero as f32;
    (0..256_u16).any(|code| {
        let code = f32::from(code);
        let plain = (code - zero) * from;
        let fused = from.mul_add(code, from * -zero);
        let [plain, fused] = [plain, fused].map(|real| (real * (1.0 / to)).round_ties_even());
        plain != fused && plain.abs() < 100.0
    })
}
