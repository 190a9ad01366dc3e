//! Immutable tensors: constants and attributes of a module.
//!
//! Elements are little endian in a shared byte buffer, which may be a slice of a mapped file: cloning, slicing and loading copy nothing.
//! A tensor is a strided view of its buffer, and a buffer may be larger than the view.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::DType;

/// Sizes or strides of a tensor, slowest dimension first.
pub type Dims = SmallVec<[i64; 4]>;

/// An immutable tensor.
///
/// One pointer wide, as most values of a graph are no tensors and all are as wide as the widest; a copy shares all of it.
#[derive(Clone)]
pub struct Tensor(Arc<View>);

/// Which elements of which bytes a tensor is.
#[derive(Clone)]
struct View {
    dtype: DType,
    shape: Dims,
    strides: Dims,
    /// First element's index in `storage`, in elements.
    offset: i64,
    storage: Bytes,
    qparams: Option<QParams>,
}

/// How the codes of a quantized tensor become real numbers: `(code - zero_point) * scale`.
#[derive(Clone, PartialEq, Debug)]
pub enum QParams {
    /// One scale for all elements.
    PerTensor {
        /// Scale.
        scale: f64,
        /// Zero point.
        zero_point: i64,
    },
    /// One scale for each index of `axis`.
    PerChannel {
        /// Scales, one for each index of the axis.
        scales: Arc<[f64]>,
        /// Zero points, likewise.
        zero_points: Arc<[i64]>,
        /// The dimension that is quantized channel by channel.
        axis: usize,
    },
    /// As [`QParams::PerChannel`], with zero points between the codes: how the rows of embedding tables are quantized.
    PerChannelFloat {
        /// Scales, one for each index of the axis.
        scales: Arc<[f32]>,
        /// Zero points, likewise.
        zero_points: Arc<[f32]>,
        /// The dimension that is quantized channel by channel.
        axis: usize,
    },
}

/// Why a tensor could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// A size is negative, or the sizes and strides have different lengths.
    #[error("make a tensor of shape {shape:?} with strides {strides:?}")]
    Shape {
        /// Sizes.
        shape: Vec<i64>,
        /// Strides.
        strides: Vec<i64>,
    },
    /// The view reaches outside its storage.
    #[error(
        "view {needed} bytes of a storage of {available} bytes (shape {shape:?}, strides {strides:?})"
    )]
    OutOfBounds {
        /// Sizes.
        shape: Vec<i64>,
        /// Strides.
        strides: Vec<i64>,
        /// Bytes up to the view's last element.
        needed: i128,
        /// Bytes in the storage.
        available: usize,
    },
    /// A quantized type without parameters, the reverse, or parameters that do not fit the shape.
    #[error("give a tensor of type {dtype} and shape {shape:?} the quantization parameters {what}")]
    QParams {
        /// Element type.
        dtype: DType,
        /// Sizes.
        shape: Vec<i64>,
        /// The parameters, in words.
        what: String,
    },
}

impl Tensor {
    /// A contiguous tensor of `shape` whose elements are `data`, little endian.
    pub fn new(dtype: DType, shape: &[i64], data: impl Into<Bytes>) -> Result<Self, TensorError> {
        Self::strided(dtype, shape, &contiguous_strides(shape), 0, data)
    }

    /// A view of `storage`: `strides` and `offset` count elements.
    pub fn strided(
        dtype: DType,
        shape: &[i64],
        strides: &[i64],
        offset: i64,
        storage: impl Into<Bytes>,
    ) -> Result<Self, TensorError> {
        let storage = storage.into();
        if shape.len() != strides.len() || shape.iter().any(|size| *size < 0) {
            return Err(TensorError::Shape {
                shape: shape.to_vec(),
                strides: strides.to_vec(),
            });
        }
        let (mut first, mut last) = (i128::from(offset), i128::from(offset));
        let mut numel: i128 = 1;
        for (size, stride) in shape.iter().zip(strides) {
            numel = numel.saturating_mul(i128::from(*size));
            let reach = (i128::from(*size) - 1).max(0) * i128::from(*stride);
            if reach < 0 {
                first = first.saturating_add(reach);
            } else {
                last = last.saturating_add(reach);
            }
        }
        let empty = shape.contains(&0);
        let needed = if empty {
            0
        } else {
            last.saturating_add(1).saturating_mul(dtype.size() as i128)
        };
        // A view that repeats its storage (stride 0) may not claim more elements than an index can name.
        let too_many = !empty && numel > i128::from(i64::MAX);
        if offset < 0 || (!empty && first < 0) || too_many || needed > storage.len() as i128 {
            return Err(TensorError::OutOfBounds {
                shape: shape.to_vec(),
                strides: strides.to_vec(),
                needed: if too_many { numel } else { needed },
                available: storage.len(),
            });
        }
        Ok(Self(Arc::new(View {
            dtype,
            shape: shape.into(),
            strides: strides.into(),
            offset,
            storage,
            qparams: None,
        })))
    }

    /// A contiguous tensor of `values`.
    ///
    /// # Errors
    /// When the number of values is not that of `shape`.
    pub fn from_values<T: Element>(shape: &[i64], values: &[T]) -> Result<Self, TensorError> {
        let data: Vec<u8> = bytemuck::cast_slice(values).to_vec();
        let wanted: i128 = shape.iter().fold(1, |numel: i128, size| {
            numel.saturating_mul(i128::from(*size))
        });
        if wanted != values.len() as i128 {
            return Err(TensorError::OutOfBounds {
                shape: shape.to_vec(),
                strides: contiguous_strides(shape).to_vec(),
                needed: wanted * T::DTYPE.size() as i128,
                available: data.len(),
            });
        }
        Self::new(T::DTYPE, shape, data)
    }

    /// A tensor without dimensions that holds one value.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self(Arc::new(View {
            dtype: T::DTYPE,
            shape: Dims::new(),
            strides: Dims::new(),
            offset: 0,
            storage: Bytes::copy_from_slice(bytemuck::bytes_of(&value)),
            qparams: None,
        }))
    }

    /// This tensor with the given quantization parameters; its type must be a quantized one.
    pub fn with_qparams(mut self, qparams: QParams) -> Result<Self, TensorError> {
        let channels = match &qparams {
            QParams::PerTensor { .. } => None,
            QParams::PerChannel {
                scales,
                zero_points,
                axis,
            } => Some((scales.len(), zero_points.len(), *axis)),
            QParams::PerChannelFloat {
                scales,
                zero_points,
                axis,
            } => Some((scales.len(), zero_points.len(), *axis)),
        };
        let what = channels.and_then(|(scales, zero_points, axis)| {
            let size = self.0.shape.get(axis).copied();
            let channels = size.and_then(|size| usize::try_from(size).ok());
            (channels != Some(scales) || scales != zero_points)
                .then(|| format!("of {scales} scales and {zero_points} zero points on axis {axis}"))
        });
        let what = what
            .or_else(|| (!self.0.dtype.is_quantized()).then(|| "of a quantized tensor".to_owned()));
        if let Some(what) = what {
            return Err(TensorError::QParams {
                dtype: self.0.dtype,
                shape: self.0.shape.to_vec(),
                what,
            });
        }
        Arc::make_mut(&mut self.0).qparams = Some(qparams);
        Ok(self)
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Sizes, slowest dimension first.
    pub fn shape(&self) -> &[i64] {
        &self.0.shape
    }

    /// Strides in elements.
    pub fn strides(&self) -> &[i64] {
        &self.0.strides
    }

    /// Index of the first element in the storage, in elements.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The whole buffer under the view.
    pub fn storage(&self) -> &Bytes {
        &self.0.storage
    }

    /// Quantization parameters, when the type is a quantized one.
    pub fn qparams(&self) -> Option<&QParams> {
        self.0.qparams.as_ref()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        if self.0.shape.contains(&0) {
            return 0;
        }
        self.0.shape.iter().map(|size| *size as usize).product()
    }

    /// Whether the elements lie in order without gaps.
    pub fn is_contiguous(&self) -> bool {
        let wanted = contiguous_strides(self.shape());
        let mut dims = self.shape().iter().zip(self.strides()).zip(&wanted);
        self.numel() == 0 || dims.all(|((size, stride), wanted)| *size == 1 || stride == wanted)
    }

    /// Whether both are the same elements of the same memory.
    fn is_same_view(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || self.0.storage.as_ptr() == other.0.storage.as_ptr()
                && (self.0.offset, &self.0.strides) == (other.0.offset, &other.0.strides)
    }

    /// The elements in logical (row-major) order as bytes; borrowed when they already lie so.
    pub fn bytes(&self) -> Bytes {
        let size = self.0.dtype.size();
        let start = self.0.offset as usize * size;
        if self.numel() == 0 {
            return Bytes::new();
        }
        if self.is_contiguous() {
            return self.0.storage.slice(start..start + self.numel() * size);
        }
        let mut out = Vec::with_capacity(self.numel() * size);
        for element in self.element_offsets() {
            let at = element as usize * size;
            out.extend_from_slice(&self.0.storage[at..at + size]);
        }
        out.into()
    }

    /// The elements in logical order, when `T` is how this type's elements are stored.
    ///
    /// Quantized types are read as their codes: `u8` for `QUInt8`, `i8` for `QInt8`, `i32` for `QInt32`.
    pub fn values<T: Element>(&self) -> Option<Vec<T>> {
        if !T::reads(self.0.dtype) {
            return None;
        }
        Some(cast_elements(&self.bytes()).into_owned())
    }

    /// Offsets of the elements in the storage, in elements and in logical order.
    pub fn element_offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let count = self.numel();
        let mut index: Dims = self.0.shape.iter().map(|_| 0).collect();
        let mut at = self.0.offset;
        (0..count).map(move |_| {
            let here = at;
            for dim in (0..index.len()).rev() {
                index[dim] += 1;
                at += self.0.strides[dim];
                if index[dim] < self.0.shape[dim] {
                    break;
                }
                at -= self.0.strides[dim] * self.0.shape[dim];
                index[dim] = 0;
            }
            here
        })
    }
}

/// Equal element type, shape, quantization and elements (by bits); layout in memory does not count.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.0.dtype == other.0.dtype
            && self.0.shape == other.0.shape
            && self.0.qparams == other.0.qparams
            && (self.is_same_view(other) || self.bytes() == other.bytes())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.0.dtype, self.0.shape.as_slice())
    }
}

/// A Rust type in which elements of a tensor can be read.
pub trait Element: AnyBitPattern + bytemuck::NoUninit + PartialEq + fmt::Debug {
    /// The type that [`Tensor::from_values`] makes of it.
    const DTYPE: DType;

    /// Whether elements of `dtype` are stored as this type.
    fn reads(dtype: DType) -> bool {
        dtype == Self::DTYPE
    }
}

impl Element for f32 {
    const DTYPE: DType = DType::Float;
}
impl Element for f64 {
    const DTYPE: DType = DType::Double;
}
impl Element for i64 {
    const DTYPE: DType = DType::Long;
}
impl Element for i32 {
    const DTYPE: DType = DType::Int;
    fn reads(dtype: DType) -> bool {
        matches!(dtype, DType::Int | DType::QInt32)
    }
}
impl Element for i16 {
    const DTYPE: DType = DType::Short;
}
impl Element for i8 {
    const DTYPE: DType = DType::Char;
    fn reads(dtype: DType) -> bool {
        matches!(dtype, DType::Char | DType::QInt8)
    }
}
impl Element for u8 {
    const DTYPE: DType = DType::Byte;
    fn reads(dtype: DType) -> bool {
        matches!(dtype, DType::Byte | DType::QUInt8 | DType::Bool)
    }
}

/// Strides of a contiguous tensor of `shape`.
pub fn contiguous_strides(shape: &[i64]) -> Dims {
    let mut strides: Dims = shape.iter().map(|_| 1).collect();
    for dim in (0..shape.len().saturating_sub(1)).rev() {
        strides[dim] = strides[dim + 1].saturating_mul(shape[dim + 1].max(1));
    }
    strides
}

/// Strides of a dense tensor of `shape` whose second dimension is the fastest (channels last).
pub fn channels_last_strides(shape: &[i64]) -> Dims {
    let mut strides: Dims = shape.iter().map(|_| 1).collect();
    let mut next = 1;
    let order = (1..2).chain((2..shape.len()).rev()).chain(0..1);
    for dim in order.filter(|dim| *dim < shape.len()) {
        strides[dim] = next;
        next = next.saturating_mul(shape[dim].max(1));
    }
    strides
}

/// Little-endian bytes as elements; copied only when they are not aligned.
pub fn cast_elements<T: AnyBitPattern + bytemuck::NoUninit>(bytes: &[u8]) -> Cow<'_, [T]> {
    const { assert!(cfg!(target_endian = "little"), "elements are read in place") };
    if let Ok(elements) = bytemuck::try_cast_slice(bytes) {
        return Cow::Borrowed(elements);
    }
    let copies = bytes.chunks_exact(size_of::<T>());
    Cow::Owned(copies.map(bytemuck::pod_read_unaligned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_view_reads_in_logical_order() {
        let storage: Vec<u8> = bytemuck::cast_slice(&[1f32, 2., 3., 4., 5., 6.]).to_vec();
        let view = Tensor::strided(DType::Float, &[3, 2], &[1, 3], 0, storage).unwrap();
        assert_eq!(view.values::<f32>().unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(
            view,
            Tensor::from_values(&[3, 2], &[1f32, 4., 2., 5., 3., 6.]).unwrap()
        );
    }

    #[test]
    fn a_view_outside_its_storage_is_refused() {
        assert!(matches!(
            Tensor::new(DType::Float, &[3], vec![0; 8]),
            Err(TensorError::OutOfBounds { .. })
        ));
        assert!(matches!(
            Tensor::new(DType::Float, &[i64::MAX, i64::MAX], vec![0; 8]),
            Err(TensorError::OutOfBounds { .. })
        ));
        assert!(matches!(
            Tensor::strided(DType::Float, &[2], &[-1], 0, vec![0; 8]),
            Err(TensorError::OutOfBounds { .. })
        ));
        assert!(matches!(
            Tensor::new(DType::Float, &[-1], vec![0; 8]),
            Err(TensorError::Shape { .. })
        ));
    }

    #[test]
    fn parameters_must_fit_the_tensor() {
        let codes = Tensor::new(DType::QInt8, &[2, 2], vec![0; 4]).unwrap();
        let scales: Arc<[f64]> = [0.5].into();
        let wrong = QParams::PerChannel {
            scales,
            zero_points: [0].into(),
            axis: 0,
        };
        assert!(codes.with_qparams(wrong).is_err());
    }

    #[test]
    fn channels_last_puts_channels_innermost() {
        assert_eq!(
            channels_last_strides(&[2, 3, 4, 5]).as_slice(),
            [60, 1, 15, 3]
        );
        assert_eq!(contiguous_strides(&[2, 3, 4, 5]).as_slice(), [60, 20, 5, 1]);
    }
}
