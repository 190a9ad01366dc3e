//! Inputs that are like a given one: same types, shapes and layouts, other elements.
//!
//! Random elements show what is wrong everywhere; extremes, ties and special numbers show what is wrong at the edges of saturation and
//! rounding, where fused and simulated arithmetic part.

use planish_ir::{DType, Literal, QParams, Tensor};

/// Ways to choose elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Any, from half as far again as those given.
    Random,
    /// The smallest.
    Low,
    /// The largest.
    High,
    /// The largest and the smallest, in turn.
    Alternating,
    /// Codes around the zero point; floats half a step from a code.
    Ties,
    /// Zeros of both signs, denormals, tiny and huge numbers.
    Special,
    /// Infinities and NaN among others.
    NotFinite,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Random,
        Self::Low,
        Self::High,
        Self::Alternating,
        Self::Ties,
        Self::Special,
        Self::NotFinite,
    ];
}

/// What elements are chosen by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) kind: Kind,
    pub(super) seed: u64,
    /// The distance between two codes, for floats that will be quantized.
    pub(super) step: Option<f64>,
}

/// A value like another: tensors get other elements, also those in lists and tuples; everything else stays.
pub(super) fn vary(literal: &Literal, choice: Choice) -> Literal {
    let mut chance = Chance(choice.seed);
    vary_with(literal, choice, &mut chance)
}

fn vary_with(literal: &Literal, choice: Choice, chance: &mut Chance) -> Literal {
    let mut all = |items: &[Literal]| {
        items
            .iter()
            .map(|item| vary_with(item, choice, chance))
            .collect()
    };
    match literal {
        Literal::List(element, items) => Literal::List(element.clone(), all(items)),
        Literal::Tuple(items) => Literal::Tuple(all(items)),
        Literal::Tensor(tensor) => {
            Literal::Tensor(vary_tensor(tensor, choice, chance).unwrap_or_else(|| tensor.clone()))
        }
        other => other.clone(),
    }
}

fn vary_tensor(tensor: &Tensor, choice: Choice, chance: &mut Chance) -> Option<Tensor> {
    let size = tensor.dtype().size();
    let mut bytes = tensor.storage().to_vec();
    let mut put = |write: &mut dyn FnMut(usize, &mut [u8])| {
        for (index, offset) in tensor.element_offsets().enumerate() {
            let start = usize::try_from(offset).ok()? * size;
            write(index, bytes.get_mut(start..start + size)?);
        }
        Some(())
    };
    match tensor.dtype() {
        DType::Float | DType::Double => {
            let wide = tensor.dtype() == DType::Double;
            let range = FloatRange::of(tensor, choice.step);
            put(&mut |index, place| {
                let value = range.element(choice.kind, index, chance);
                if wide {
                    place.copy_from_slice(&value.to_le_bytes());
                } else {
                    place.copy_from_slice(&(value as f32).to_le_bytes());
                }
            })?;
        }
        dtype => {
            let range = IntRange::of(tensor)?;
            put(&mut |index, place| {
                let value = range.element(choice.kind, index, chance);
                place.copy_from_slice(&value.to_le_bytes()[..dtype.size()]);
            })?;
        }
    }
    let varied = Tensor::strided(
        tensor.dtype(),
        tensor.shape(),
        tensor.strides(),
        tensor.offset(),
        bytes,
    )
    .ok()?;
    match tensor.qparams() {
        Some(qparams) => varied.with_qparams(qparams.clone()).ok(),
        None => Some(varied),
    }
}

struct FloatRange {
    largest: f64,
    step: f64,
    is_single: bool,
}

impl FloatRange {
    fn of(tensor: &Tensor, step: Option<f64>) -> Self {
        let singles = tensor.values::<f32>();
        let is_single = singles.is_some();
        let values: Vec<f64> = match singles {
            Some(values) => values.into_iter().map(f64::from).collect(),
            None => tensor.values::<f64>().unwrap_or_default(),
        };
        let finite = values.iter().map(|value| value.abs());
        let largest = finite.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let largest = if largest == 0.0 { 1.0 } else { largest };
        Self {
            largest,
            step: step.unwrap_or(largest / 127.0),
            is_single,
        }
    }

    fn element(&self, kind: Kind, index: usize, chance: &mut Chance) -> f64 {
        let smallest = if self.is_single {
            f64::from(f32::from_bits(1))
        } else {
            f64::from_bits(1)
        };
        let normal = f64::from(f32::MIN_POSITIVE);
        let any = self.largest * chance.between(-1.5, 1.5);
        match kind {
            Kind::Random => any,
            Kind::Low => -self.largest,
            Kind::High => self.largest,
            Kind::Alternating => self.largest * if index.is_multiple_of(2) { 1.0 } else { -1.0 },
            Kind::Ties => ((any / self.step).floor() + 0.5) * self.step,
            Kind::Special => {
                let huge = self.largest * 1e4;
                let special = [
                    0.0, -0.0, smallest, -smallest, normal, -normal, 1e-20, huge, -huge, any,
                ];
                special[chance.below(special.len() as u64) as usize]
            }
            Kind::NotFinite => {
                let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, any, any, any];
                special[chance.below(special.len() as u64) as usize]
            }
        }
    }
}

struct IntRange {
    low: i64,
    high: i64,
    middle: i64,
}

impl IntRange {
    /// The range of codes; of integers that which is given, since they may be indices.
    fn of(tensor: &Tensor) -> Option<Self> {
        if let Some((low, high)) = tensor.dtype().quantized_range() {
            let middle = match tensor.qparams() {
                Some(QParams::PerTensor { zero_point, .. }) => *zero_point,
                _ => 0,
            };
            return Some(Self { low, high, middle });
        }
        let values: Vec<i64> = match tensor.dtype() {
            DType::Long => tensor.values::<i64>()?,
            DType::Int => tensor.values::<i32>()?.into_iter().map(i64::from).collect(),
            DType::Bool => vec![0, 1],
            _ => return None,
        };
        let (low, high) = (*values.iter().min()?, *values.iter().max()?);
        let middle = low.midpoint(high);
        Some(Self { low, high, middle })
    }

    fn element(&self, kind: Kind, index: usize, chance: &mut Chance) -> i64 {
        let any = self.low + chance.below((self.high - self.low) as u64 + 1) as i64;
        match kind {
            Kind::Low => self.low,
            Kind::High => self.high,
            Kind::Alternating if index.is_multiple_of(2) => self.high,
            Kind::Alternating => self.low,
            Kind::Ties => (self.middle + chance.below(5) as i64 - 2).clamp(self.low, self.high),
            Kind::Random | Kind::Special | Kind::NotFinite => any,
        }
    }
}

/// `SplitMix64`: the same numbers on every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varied(tensor: &Tensor, kind: Kind) -> Tensor {
        let choice = Choice {
            kind,
            seed: 1,
            step: None,
        };
        match vary(&Literal::Tensor(tensor.clone()), choice) {
            Literal::Tensor(tensor) => tensor,
            other => panic!("a tensor stays a tensor, not {other:?}"),
        }
    }

    #[test]
    fn codes_reach_both_ends_and_keep_their_scale() {
        let tensor = Tensor::new(DType::QUInt8, &[4], vec![7; 4]).unwrap();
        let qparams = QParams::PerTensor {
            scale: 0.5,
            zero_point: 3,
        };
        let tensor = tensor.with_qparams(qparams.clone()).unwrap();
        assert_eq!(
            varied(&tensor, Kind::Alternating).bytes()[..],
            [255, 0, 255, 0]
        );
        assert_eq!(varied(&tensor, Kind::Low).bytes()[..], [0; 4]);
        let ties = varied(&tensor, Kind::Ties);
        assert!(ties.bytes().iter().all(|code| (1..=5).contains(code)));
        assert_eq!(ties.qparams(), Some(&qparams));
    }

    #[test]
    fn indices_stay_in_their_range_and_layouts_stay() {
        let tensor = Tensor::from_values(&[2, 2], &[3_i64, 5, 4, 3]).unwrap();
        let random = varied(&tensor, Kind::Random).values::<i64>().unwrap();
        assert!(random.iter().all(|index| (3..=5).contains(index)));
        let floats: Vec<u8> = [1f32, 2., 3., 4.]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let turned = Tensor::strided(DType::Float, &[2, 2], &[1, 2], 0, floats).unwrap();
        let high = varied(&turned, Kind::Alternating);
        assert_eq!(high.values::<f32>().unwrap(), [4., -4., 4., -4.]);
        assert_eq!(high.strides(), [1, 2]);
    }
}
