//! Interpolation by cubic polynomials through four neighbours.

/// The slope that PyTorch gives the polynomials.
const SLOPE: f32 = -0.75;

/// The weights of the four neighbours of a place that lies `share` behind the second.
pub(super) fn weights(share: f32) -> [f32; 4] {
    let near = |x: f32| ((SLOPE + 2.0) * x - (SLOPE + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((SLOPE * x - 5.0 * SLOPE) * x + 8.0 * SLOPE) * x - 4.0 * SLOPE;
    let back = 1.0 - share;
    [far(share + 1.0), near(share), near(back), far(back + 1.0)]
}

/// The value between four neighbours.
pub(super) fn between(weights: [f32; 4], value: impl Fn(usize) -> f32) -> f32 {
    (1..4).fold(weights[0] * value(0), |sum, at| {
        sum + weights[at] * value(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_and_meet_the_neighbours() {
        assert_eq!(weights(0.0), [0.0, 1.0, 0.0, 0.0]);
        for share in [0.1, 0.5, 0.9] {
            assert!((weights(share).iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert!((between(weights(0.5), |at| at as f32) - 1.5).abs() < 1e-6);
    }
}
