//! In which order PyTorch adds up a convolution of floats.
//!
//! It has several ways to compute one, and chooses by shapes and layout. Each adds one product after the other, fused, in chains of its own
//! order; `docs/numerics.md` says which.

use planish_ir::ConvGeometry;

use crate::float::product;

/// The order of a convolution's products, and the place of its bias.
pub(super) struct Order {
    /// Places in a window, in the order in which they are added.
    places: Vec<usize>,
    /// Where chains end. Their sums are added one to the other.
    ends: Vec<usize>,
    bias: Bias,
}

/// What the bias is added to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bias {
    /// To nothing: the first chain begins with it.
    Nothing,
    /// To the sum of the first chain.
    First,
    /// To the whole sum.
    Whole,
}

/// What decides about the order.
pub(super) struct Shape<'a> {
    /// Sizes of the input.
    pub(super) input: &'a [i64],
    /// Sizes of the kernel.
    pub(super) kernel: &'a [i64],
    pub(super) geometry: &'a ConvGeometry,
    /// Channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Whether input or weight have their channels last.
    pub(super) last: bool,
}

impl Order {
    /// The order for windows that lie in memory tap by tap, with `inputs` channels each.
    pub(super) fn of(shape: &Shape<'_>) -> Self {
        let taps = shape.kernel.iter().product::<i64>() as usize;
        let (inputs, groups) = (shape.inputs, shape.geometry.groups);
        let by_taps = |block: usize, bias| Self::by_taps(taps, inputs, block, bias);
        let own = !shape.in_library();
        if shape.geometry.transposed {
            return match (own, shape.last) {
                (true, _) => Self::tap_by_tap(taps, inputs),
                (false, true) => by_taps(inputs, Bias::Whole),
                (false, false) => Self::by_taps(taps, inputs, 16, Bias::Whole),
            };
        }
        let depthwise = groups > 1 && inputs == 1 && shape.outputs == 1;
        if own {
            return match (shape.last, shape.outputs) {
                (true, _) => by_taps(inputs, Bias::Whole).in_halves(),
                // A product of a row and a matrix goes on from the bias.
                (false, 1) => Self::by_channels(taps, inputs, Bias::Nothing),
                (false, _) => Self::by_channels(taps, inputs, Bias::Whole).in_halves(),
            };
        }
        let geometry = shape.geometry;
        if depthwise {
            let dilated = geometry.dilation.iter().any(|d| *d != 1);
            let flat = shape.kernel.len() < 3;
            let fast = flat && (!shape.last || (dilated && taps > 1));
            return by_taps(inputs, if fast { Bias::Nothing } else { Bias::Whole });
        }
        if shape.last {
            return by_taps(inputs, Bias::Whole);
        }
        if taps == 1 {
            let padded = geometry.padding.iter().any(|p| *p != 0);
            let plain = geometry.stride.iter().all(|stride| *stride == 1);
            let alone = groups == 1 && !padded && (inputs > 16 || plain);
            return by_taps(inputs, if alone { Bias::Nothing } else { Bias::Whole });
        }
        if groups == 1 {
            let mut sides = geometry.padding.iter().zip(shape.kernel);
            return if sides.any(|(padding, size)| padding >= size) {
                Self::by_channels(taps, inputs, Bias::Whole)
            } else {
                by_taps(16, Bias::First)
            };
        }
        // Channels that fill vectors of 16, 8 or 4.
        let fits =
            |size: &usize| inputs.is_multiple_of(*size) && shape.outputs.is_multiple_of(*size);
        match [16, 8, 4].into_iter().find(fits) {
            Some(block) => by_taps(block, Bias::First),
            None => Self::by_channels(taps, inputs, Bias::Whole),
        }
    }

    /// Blocks of channels; in each the taps, in each tap the channels.
    fn by_taps(taps: usize, inputs: usize, block: usize, bias: Bias) -> Self {
        let mut places = Vec::with_capacity(taps * inputs);
        let mut ends = Vec::new();
        for first in (0..inputs).step_by(block.max(1)) {
            for tap in 0..taps {
                places.extend((first..inputs.min(first + block)).map(|c| tap * inputs + c));
            }
            ends.push(places.len());
        }
        Self { places, ends, bias }
    }

    /// The channels, in each the taps.
    fn by_channels(taps: usize, inputs: usize, bias: Bias) -> Self {
        let places = (0..inputs).flat_map(|c| (0..taps).map(move |tap| tap * inputs + c));
        Self {
            places: places.collect(),
            ends: vec![taps * inputs],
            bias,
        }
    }

    /// A chain for each tap.
    fn tap_by_tap(taps: usize, inputs: usize) -> Self {
        Self {
            places: (0..taps * inputs).collect(),
            ends: (1..=taps).map(|tap| tap * inputs).collect(),
            bias: Bias::Whole,
        }
    }

    /// The one chain cut as in a product of matrices.
    fn in_halves(mut self) -> Self {
        self.ends = product::ends(self.places.len());
        self.bias = Bias::First;
        self
    }

    /// The sum of a window's products, and the bias.
    pub(super) fn sum(&self, window: &[f32], weight: &[f32], bias: f32) -> f32 {
        let mut sum = None;
        let mut from = 0;
        for end in &self.ends {
            let start = match (sum, self.bias) {
                (None, Bias::Nothing) => bias,
                _ => 0.0,
            };
            let chain = self.places[from..*end].iter();
            let part = chain.fold(start, |sum, at| window[*at].mul_add(weight[*at], sum));
            sum = Some(match (sum, self.bias) {
                (None, Bias::First) => part + bias,
                (None, _) => part,
                (Some(sum), _) => sum + part,
            });
            from = *end;
        }
        match (sum, self.bias) {
            (None, _) => bias,
            (Some(sum), Bias::Whole) => sum + bias,
            (Some(sum), _) => sum,
        }
    }
}

impl Shape<'_> {
    /// Whether PyTorch, on one thread, leaves the convolution to oneDNN rather than to its own product of matrices.
    fn in_library(&self) -> bool {
        let geometry = self.geometry;
        let unequal = |list: &[i64]| list.iter().any(|value| *value != 1);
        let mut sizes = self.input.to_vec();
        let mut kernel = self.kernel.to_vec();
        if kernel.len() == 1 {
            // A signal is an image of height 1.
            sizes.insert(2, 1);
            kernel.insert(0, 1);
        }
        let [.., high, wide] = kernel[..] else {
            return false;
        };
        let batch = sizes[0];
        let worth = unequal(&geometry.stride)
            || unequal(&geometry.dilation)
            || batch >= 16
            || high != 1
            || wide != 1;
        let large = geometry.groups > 1
            || (high > 3 && wide > 3)
            || batch > 1
            || sizes[..4].iter().product::<i64>() > 20_480;
        worth && large
    }
}
