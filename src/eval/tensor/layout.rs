//! Orders of elements in memory, and how PyTorch tells them from strides.

use planish_ir::{Dims, channels_last_strides, contiguous_strides};

/// An order of the elements of a dense tensor in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MemoryFormat {
    /// The last dimension is the fastest.
    Contiguous,
    /// The second dimension is the fastest, then the last; for four or five dimensions.
    ChannelsLast,
}

impl MemoryFormat {
    /// Strides of a dense tensor of `shape` in this order.
    pub fn strides(self, shape: &[i64]) -> Dims {
        match self {
            Self::ChannelsLast if matches!(shape.len(), 4 | 5) => channels_last_strides(shape),
            _ => contiguous_strides(shape),
        }
    }

    /// Whether a tensor of these sizes and strides is dense in this order. Strides of dimensions of size 1 do not count.
    pub fn fits(self, shape: &[i64], strides: &[i64]) -> bool {
        if shape.contains(&0) {
            return self == Self::Contiguous || matches!(shape.len(), 4 | 5);
        }
        let mut wanted = 1;
        let mut fits = |dim: usize| {
            let ok = shape[dim] == 1 || strides[dim] == wanted;
            wanted = wanted.saturating_mul(shape[dim]);
            ok
        };
        match self {
            Self::Contiguous => (0..shape.len()).rev().all(fits),
            Self::ChannelsLast => {
                matches!(shape.len(), 4 | 5)
                    && fits(1)
                    && (2..shape.len()).rev().all(&mut fits)
                    && fits(0)
            }
        }
    }

    /// The order that PyTorch reads from strides when it makes a result like a tensor (`suggest_memory_format`).
    ///
    /// A tensor may be dense in both orders, for instance with one channel; strides of dimensions of size 1 then decide.
    pub fn suggested(shape: &[i64], strides: &[i64]) -> Self {
        if !matches!(shape.len(), 4 | 5) || strides[1] == 0 {
            return Self::Contiguous;
        }
        let mut least = 0;
        for dim in (1..2).chain((2..shape.len()).rev()).chain(0..1) {
            if shape[dim] == 0 || strides[dim] < least || (dim == 0 && least == strides[1]) {
                return Self::Contiguous;
            }
            least = strides[dim];
            if shape[dim] > 1 {
                least = least.saturating_mul(shape[dim]);
            }
        }
        Self::ChannelsLast
    }

    /// The format with PyTorch's number `code`; `None` for "preserve".
    pub fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Contiguous),
            2 | 3 => Some(Self::ChannelsLast),
            _ => None,
        }
    }
}

/// Whether the elements fill their span without gap or overlap, in whatever order.
pub(crate) fn is_dense(shape: &[i64], strides: &[i64]) -> bool {
    let mut dims: Vec<usize> = (0..shape.len()).filter(|dim| shape[*dim] != 1).collect();
    if shape.contains(&0) {
        return true;
    }
    dims.sort_by_key(|dim| strides[*dim]);
    let mut wanted = 1;
    for dim in dims {
        if strides[dim] != wanted {
            return false;
        }
        wanted = wanted.saturating_mul(shape[dim]);
    }
    true
}

/// Strides of a new tensor like one of these sizes and strides (`empty_like`): the same for a dense tensor; otherwise the dimensions
/// keep their order in memory and the gaps close.
pub(crate) fn preserved_strides(shape: &[i64], strides: &[i64]) -> Dims {
    if is_dense(shape, strides) && !shape.contains(&0) {
        return strides.into();
    }
    dense_in_order(shape, &memory_order(shape, &[strides]))
}

/// Dense strides in which `order` lists the dimensions, fastest first.
pub(crate) fn dense_in_order(shape: &[i64], order: &[usize]) -> Dims {
    let mut strides: Dims = shape.iter().map(|_| 1).collect();
    let mut next: i64 = 1;
    for dim in order {
        strides[*dim] = next;
        next = next.saturating_mul(shape[*dim].max(1));
    }
    strides
}

/// The dimensions, fastest first, as an elementwise operator walks operands with these strides (zero for a broadcast dimension).
///
/// An insertion sort from the last dimension to the first, as in PyTorch's iterator: operands that disagree are asked in order, and
/// a stride of zero has no opinion.
pub(crate) fn memory_order(shape: &[i64], operands: &[&[i64]]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..shape.len()).rev().collect();
    // 1: `a` must come after `b`; -1: before; 0: no opinion.
    let compare = |a: usize, b: usize| {
        for strides in operands {
            let (x, y) = (strides[a], strides[b]);
            if x == 0 || y == 0 {
                continue;
            }
            if x != y {
                return if x < y { -1 } else { 1 };
            }
            if shape[a] > shape[b] {
                return 1;
            }
        }
        0
    };
    for i in 1..order.len() {
        let mut inner = i;
        for outer in (0..i).rev() {
            match compare(order[outer], order[inner]) {
                1 => {
                    order.swap(outer, inner);
                    inner = outer;
                }
                -1 => break,
                _ => {}
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_channel_is_told_by_its_strides() {
        use MemoryFormat::{ChannelsLast, Contiguous};
        assert_eq!(
            MemoryFormat::suggested(&[2, 3, 4, 5], &[60, 1, 15, 3]),
            ChannelsLast
        );
        assert_eq!(
            MemoryFormat::suggested(&[2, 3, 4, 5], &[60, 20, 5, 1]),
            Contiguous
        );
        assert_eq!(
            MemoryFormat::suggested(&[2, 1, 4, 5], &[20, 20, 5, 1]),
            Contiguous
        );
        assert_eq!(
            MemoryFormat::suggested(&[2, 1, 4, 5], &[20, 1, 5, 1]),
            ChannelsLast
        );
        assert_eq!(
            MemoryFormat::suggested(&[3, 1, 1, 1], &[1, 1, 1, 1]),
            Contiguous
        );
        assert!(
            Contiguous.fits(&[2, 1, 4, 5], &[20, 1, 5, 1])
                && ChannelsLast.fits(&[2, 1, 4, 5], &[20, 1, 5, 1])
        );
    }

    #[test]
    fn gaps_close_and_order_stays() {
        assert_eq!(
            preserved_strides(&[2, 3, 4], &[24, 1, 6]).as_slice(),
            [12, 1, 3]
        );
        assert_eq!(preserved_strides(&[2, 3], &[0, 0]).as_slice(), [3, 1]);
        assert_eq!(preserved_strides(&[3, 2], &[1, 3]).as_slice(), [1, 3]);
    }
}
