//! Mean and variance of a row.

/// Floats in a vector of these kernels, which PyTorch leaves to AVX2.
const LANES: usize = 8;
/// Vectors whose moments are taken together.
const CHUNK: usize = 16;

/// The moments of some elements: how many, their mean, and the sum of squares of what they differ from it.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: usize,
    mean: f32,
    squares: f32,
}

/// Mean and variance of a row, as PyTorch's `RowwiseMoments` has them: Welford's method on eight lanes, chunks merged in pairs.
pub(crate) fn moments(row: &[f32]) -> (f32, f32) {
    let vectors = row.len() / LANES;
    let chunks = vectors.div_ceil(CHUNK);
    let depth = (chunks.next_power_of_two().trailing_zeros() as usize).max(1);
    let mut levels = vec![[Moments::default(); LANES]; depth];
    for (index, chunk) in row[..vectors * LANES].chunks(CHUNK * LANES).enumerate() {
        merge(&mut levels[0], &chunk_moments(chunk));
        for level in 1..depth {
            if (index + 1) >> (level - 1) & 1 != 0 {
                break;
            }
            let lower = std::mem::take(&mut levels[level - 1]);
            merge(&mut levels[level], &lower);
        }
    }
    let (lanes, rest) = levels.split_at_mut(1);
    for level in rest {
        merge(&mut lanes[0], level);
    }
    let mut all = Moments::default();
    for x in &row[vectors * LANES..] {
        let delta = x - all.mean;
        all.count += 1;
        all.mean += delta / all.count as f32;
        all.squares += delta * (x - all.mean);
    }
    for lane in &lanes[0] {
        let share = share(all.count, lane.count);
        let delta = lane.mean - all.mean;
        all.mean = share.mul_add(delta, all.mean);
        all.squares += (delta * delta * share).mul_add(all.count as f32, lane.squares);
        all.count += lane.count;
    }
    (all.mean, all.squares / row.len() as f32)
}

/// The moments of each lane of a few vectors.
fn chunk_moments(chunk: &[f32]) -> [Moments; LANES] {
    let mut lanes = [Moments::default(); LANES];
    for vector in chunk.chunks_exact(LANES) {
        for (lane, x) in lanes.iter_mut().zip(vector) {
            lane.count += 1;
            let delta = x - lane.mean;
            lane.mean = delta.mul_add(1.0 / lane.count as f32, lane.mean);
            lane.squares = delta.mul_add(x - lane.mean, lane.squares);
        }
    }
    lanes
}

/// Adds the moments of further elements, lane by lane.
fn merge(to: &mut [Moments; LANES], from: &[Moments; LANES]) {
    for (to, from) in to.iter_mut().zip(from) {
        let delta = from.mean - to.mean;
        let step = delta * share(to.count, from.count);
        to.mean += step;
        to.squares = (delta * to.count as f32).mul_add(step, to.squares + from.squares);
        to.count += from.count;
    }
}

/// The share of the added elements in all.
fn share(old: usize, added: usize) -> f32 {
    match old + added {
        0 => 0.0,
        all => added as f32 / all as f32,
    }
}
