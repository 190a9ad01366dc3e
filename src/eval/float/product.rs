//! Sums of products in the order of the libraries that PyTorch calls.

use super::sum::fold;

/// A product of matrices, as the library that computes it is told of it.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Products in a sum.
    pub(crate) depth: usize,
    /// The elements of a column of the second matrix follow each other in memory, as with a linear map's weight.
    pub(crate) transposed: bool,
}

/// A bias and the sum of the products of two equally long runs.
pub(crate) type Dot = fn(f32, &[f32], &[f32]) -> f32;

impl Product {
    /// How one matrix of a batch is multiplied: small ones by PyTorch's own loop, the others by MKL.
    pub(crate) fn batched(self) -> Dot {
        if self.rows * self.columns * self.depth < 400 {
            apart
        } else {
            halves
        }
    }

    /// How a single pair of matrices is multiplied, by MKL on a processor of Intel's with AVX512: by rows of its packed kernels, or, when
    /// the matrices are small and the second is transposed, by vectors along the sum.
    pub(crate) fn single(self) -> Dot {
        let (rows, columns, depth) = (self.rows, self.columns, self.depth);
        if !self.transposed {
            return if rows == 1 { onward } else { halves };
        }
        let wide = columns >= 4 || (columns == 3 && rows >= 12) || (columns == 2 && rows >= 16);
        let full = rows >= 12 || columns >= 12 || columns <= rows.max(depth.saturating_sub(1));
        match rows {
            1 => vector,
            2..16 if depth >= 24 * rows => quarters,
            _ if wide && full => halves,
            _ => lanes,
        }
    }
}

/// One fused multiplication and addition after the other.
fn chain(x: &[f32], w: &[f32]) -> f32 {
    x.iter().zip(w).fold(0.0, |sum, (x, w)| x.mul_add(*w, sum))
}

/// One chain that begins with the bias.
fn onward(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    let products = x.iter().zip(w);
    products.fold(bias, |sum, (x, w)| x.mul_add(*w, sum))
}

/// Products rounded before they are added.
fn apart(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    x.iter().zip(w).fold(0.0, |sum, (x, w)| sum + x * w) + bias
}

/// The sums of chains, added one to the other and the first to the bias.
fn halves(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    let mut from = 0;
    ends(x.len()).into_iter().fold(bias, |sum, end| {
        let part = chain(&x[from..end], &w[from..end]);
        from = end;
        sum + part
    })
}

/// Where the chains of MKL's sum of so many products end: after 384 while more than twice as many are left, and what is left in halves.
pub(crate) fn ends(depth: usize) -> Vec<usize> {
    const MOST: usize = 384;
    let (mut ends, mut at) = (Vec::new(), 0);
    while at < depth {
        let left = depth - at;
        at += match left {
            ..=MOST => left,
            _ if left <= 2 * MOST => left.div_ceil(2),
            _ => MOST,
        };
        ends.push(at);
    }
    ends
}

/// Sixteen chains side by side.
fn side_by_side(mut sums: [f32; 16], x: &[f32], w: &[f32]) -> [f32; 16] {
    for (x, w) in x.chunks(16).zip(w.chunks(16)) {
        for ((sum, x), w) in sums.iter_mut().zip(x).zip(w) {
            *sum = x.mul_add(*w, *sum);
        }
    }
    sums
}

/// Sixteen chains, folded in halves.
fn lanes(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    fold(side_by_side([0.0; 16], x, w)) + bias
}

/// Sixteen chains, folded in quarters first.
fn quarters(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    let sums = side_by_side([0.0; 16], x, w);
    let [a, b, c, d] =
        [0, 1, 2, 3].map(|at| ((sums[at] + sums[at + 4]) + sums[at + 8]) + sums[at + 12]);
    (a + b) + (c + d) + bias
}

/// A row times a matrix: the first product, then sixteen chains side by side, the first of which goes on from the sum so far; once for
/// all whole vectors, once for the rest.
fn vector(bias: f32, x: &[f32], w: &[f32]) -> f32 {
    let ([first, x @ ..], [factor, w @ ..]) = (x, w) else {
        return bias;
    };
    let whole = x.len() / 16 * 16;
    let mut sum = first * factor;
    for range in [0..whole, whole..x.len()] {
        let mut sums = [0f32; 16];
        sums[0] = sum;
        sum = fold(side_by_side(sums, &x[range.clone()], &w[range]));
    }
    sum + bias
}

/// The sum that fbgemm takes with a weight of half precision: one chain for each output in a whole block of 32, chains of 512 for the rest.
pub(crate) fn half(output: usize, outputs: usize) -> Dot {
    fn whole(bias: f32, x: &[f32], w: &[f32]) -> f32 {
        chain(x, w) + bias
    }
    fn parts(bias: f32, x: &[f32], w: &[f32]) -> f32 {
        let parts = x.chunks(512).zip(w.chunks(512)).map(|(x, w)| chain(x, w));
        parts.reduce(|sum, part| sum + part).unwrap_or(0.0) + bias
    }
    if output < outputs / 32 * 32 {
        whole
    } else {
        parts
    }
}
