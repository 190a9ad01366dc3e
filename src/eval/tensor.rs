//! Tensors that can be written to: what a program computes with.
//!
//! A [`Tensor`] is a strided view of a [`Storage`], and cloning it gives another name of the same tensor. Views share the storage, so
//! in-place operators show through views exactly as in PyTorch. Layouts follow PyTorch as well: results of some quantized operators
//! depend on the order of elements in memory.

mod elements;
mod layout;
mod storage;
mod views;

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use planish_ir::{DType, Dims, Element, QParams, TensorError, contiguous_strides};

pub use elements::Raw;
pub use layout::MemoryFormat;
pub(crate) use layout::{dense_in_order, is_dense, memory_order, preserved_strides};
pub use storage::{ALIGNMENT, BytesMut, BytesRef, Storage};
pub(crate) use views::dim_index;

use crate::{Error, Result};

/// A tensor of a running program; a clone is the same tensor.
#[derive(Clone)]
pub struct Tensor(Arc<Parts>);

struct Parts {
    dtype: DType,
    shape: Dims,
    strides: Dims,
    offset: i64,
    storage: Arc<Storage>,
    /// Some in-place operators give a tensor new parameters, for all who hold it.
    qparams: RwLock<Option<QParams>>,
    /// Others give it other sizes and strides: it is this view from then on.
    turned: OnceLock<Tensor>,
    /// The constant that it was made from, which it is as long as nobody writes to it.
    constant: Option<planish_ir::Tensor>,
}

/// How often one tensor may be turned: each time adds a link that all who read it follow.
const TURNS: usize = 1000;

impl Tensor {
    /// Zeros, dense with the given strides.
    pub fn zeros(dtype: DType, shape: &[i64], format: MemoryFormat) -> Result<Self> {
        Self::zeros_strided(dtype, shape, &format.strides(shape))
    }

    /// Zeros of the given sizes and strides, in a storage just large enough.
    pub fn zeros_strided(dtype: DType, shape: &[i64], strides: &[i64]) -> Result<Self> {
        let too_large = || Error::Invalid(format!("a tensor of shape {shape:?} is too large"));
        let mut last: i64 = 0;
        let mut numel: i64 = 1;
        for (size, stride) in shape.iter().zip(strides) {
            if *size < 0 {
                return Err(Error::Invalid(format!(
                    "shape {shape:?} has a negative size"
                )));
            }
            numel = numel.checked_mul(*size).ok_or_else(too_large)?;
            let reach = (size - 1).max(0).checked_mul(*stride);
            last = reach
                .and_then(|reach| last.checked_add(reach))
                .ok_or_else(too_large)?;
        }
        let count = if numel == 0 { 0 } else { last + 1 };
        let bytes = count
            .checked_mul(dtype.size() as i64)
            .ok_or_else(too_large)?;
        let storage = Storage::zeroed(usize::try_from(bytes).map_err(|_| too_large())?)?;
        Self::view_of(storage, dtype, shape, strides, 0)
    }

    /// A contiguous tensor of `values`, which are in logical order.
    pub fn from_values<T: Element>(shape: &[i64], values: &[T]) -> Result<Self> {
        Self::from_slice(T::DTYPE, shape, &contiguous_strides(shape), values)
    }

    /// A tensor of `values`, which are in logical order, laid out with dense `strides`; `T` is how `dtype` is stored.
    pub fn from_slice<T: Raw>(
        dtype: DType,
        shape: &[i64],
        strides: &[i64],
        values: &[T],
    ) -> Result<Self> {
        let tensor = Self::zeros_strided(dtype, shape, strides)?;
        if size_of::<T>() != dtype.size() || tensor.numel() != values.len() {
            return Err(Error::Invalid(format!(
                "{} elements of {} bytes do not fill {dtype}{shape:?}",
                values.len(),
                size_of::<T>()
            )));
        }
        tensor.write_elements(values)?;
        Ok(tensor)
    }

    /// A tensor without dimensions that holds one value.
    pub fn scalar<T: Element>(value: T) -> Result<Self> {
        Self::from_values(&[], &[value])
    }

    /// A view of a storage; `strides` and `offset` count elements.
    pub fn view_of(
        storage: Arc<Storage>,
        dtype: DType,
        shape: &[i64],
        strides: &[i64],
        offset: i64,
    ) -> Result<Self> {
        check_bounds(dtype, shape, strides, offset, storage.len())?;
        Ok(Self(Arc::new(Parts {
            dtype,
            shape: shape.into(),
            strides: strides.into(),
            offset,
            storage,
            qparams: RwLock::new(None),
            turned: OnceLock::new(),
            constant: None,
        })))
    }

    /// Another view of this tensor's storage, with its element type and quantization parameters.
    pub fn as_strided(&self, shape: &[i64], strides: &[i64], offset: i64) -> Result<Self> {
        self.restrided(self.dtype(), shape, strides, offset, self.qparams())
    }

    /// The same elements with other parameters; the storage stays shared. Fails unless the type is a quantized one.
    pub fn with_qparams(&self, qparams: QParams) -> Result<Self> {
        if !self.dtype().is_quantized() {
            return Err(TensorError::QParams {
                dtype: self.dtype(),
                shape: self.shape().to_vec(),
                what: "of a quantized tensor".to_owned(),
            }
            .into());
        }
        self.restrided(
            self.dtype(),
            self.shape(),
            self.strides(),
            self.offset(),
            Some(qparams),
        )
    }

    /// The same bytes as elements of another type of the same size, such as the codes of a quantized tensor.
    pub fn cast_bits(&self, dtype: DType, qparams: Option<QParams>) -> Result<Self> {
        if dtype.size() != self.dtype().size() {
            return Err(Error::Invalid(format!(
                "{self:?} cannot be read as elements of type {dtype}"
            )));
        }
        self.restrided(dtype, self.shape(), self.strides(), self.offset(), qparams)
    }

    fn restrided(
        &self,
        dtype: DType,
        shape: &[i64],
        strides: &[i64],
        offset: i64,
        qparams: Option<QParams>,
    ) -> Result<Self> {
        check_bounds(dtype, shape, strides, offset, self.storage().len())?;
        Ok(Self(Arc::new(Parts {
            dtype,
            shape: shape.into(),
            strides: strides.into(),
            offset,
            storage: Arc::clone(self.storage()),
            qparams: RwLock::new(qparams),
            turned: OnceLock::new(),
            constant: None,
        })))
    }

    /// What this tensor is by now.
    fn parts(&self) -> &Parts {
        let mut parts = &*self.0;
        while let Some(turned) = parts.turned.get() {
            parts = &turned.0;
        }
        parts
    }

    /// Makes this tensor, for all who hold it, what `view` is: another view of its own storage, or anything if it has no elements.
    pub(crate) fn turn_into(&self, view: &Self) -> Result<()> {
        if !self.shares_storage(view) && self.numel() > 0 {
            return Err(Error::Invalid(format!(
                "{view:?} is no view of {self:?}, which cannot become it"
            )));
        }
        // A tensor that nobody else holds, so that no link leads back.
        let view = view.as_strided(view.shape(), view.strides(), view.offset())?;
        let mut last = self;
        for _ in 0..TURNS {
            match last.0.turned.get() {
                Some(turned) => last = turned,
                None if last.0.turned.set(view.clone()).is_ok() => return Ok(()),
                None => {}
            }
        }
        Err(Error::Limit {
            what: "operators that give one tensor other sizes in place",
            limit: TURNS as u64,
        })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.parts().dtype
    }

    /// Sizes, slowest dimension first.
    pub fn shape(&self) -> &[i64] {
        &self.parts().shape
    }

    /// Strides in elements.
    pub fn strides(&self) -> &[i64] {
        &self.parts().strides
    }

    /// Index of the first element in the storage, in elements.
    pub fn offset(&self) -> i64 {
        self.parts().offset
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.parts().shape.len()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.parts()
            .shape
            .iter()
            .map(|size| *size as usize)
            .product()
    }

    /// The buffer under the view.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.parts().storage
    }

    /// Quantization parameters, when the type is a quantized one.
    pub fn qparams(&self) -> Option<QParams> {
        let qparams = self
            .parts()
            .qparams
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        qparams.clone()
    }

    /// Gives this tensor, for all who hold it, other quantization parameters.
    pub fn set_qparams(&self, qparams: QParams) {
        *self
            .parts()
            .qparams
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(qparams);
    }

    /// Whether nobody else holds this tensor or shares its storage, so that the storage may be reused.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(&self.0.storage) == 1
    }

    /// Whether both names mean the same tensor.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A number that no other tensor alive has.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Whether both tensors view the same storage.
    pub fn shares_storage(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.storage(), other.storage())
    }

    /// Whether the elements are dense in the given order.
    pub fn is_dense(&self, format: MemoryFormat) -> bool {
        format.fits(self.shape(), self.strides())
    }

    /// Whether the elements lie in logical order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.is_dense(MemoryFormat::Contiguous)
    }

    /// The order of elements that PyTorch reads from the strides (`suggest_memory_format`).
    pub fn memory_format(&self) -> MemoryFormat {
        MemoryFormat::suggested(self.shape(), self.strides())
    }

    /// Whether the elements fill their span in some order, so that they can be walked as one run of memory.
    pub fn is_dense_in_any_order(&self) -> bool {
        is_dense(self.shape(), self.strides())
    }

    /// Runs `read` on the bytes of a dense tensor, in memory order; `None` when the elements have gaps.
    pub fn with_bytes<R>(&self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let span = self.dense_span()?;
        Some(read(&self.storage().read()[span]))
    }

    /// Runs `write` on the bytes of a dense tensor, in memory order; `None` when the elements have gaps.
    pub fn with_bytes_mut<R>(&self, write: impl FnOnce(&mut [u8]) -> R) -> Result<Option<R>> {
        let Some(span) = self.dense_span() else {
            return Ok(None);
        };
        Ok(Some(write(&mut self.storage().write()?[span])))
    }

    /// Byte positions in the storage of a dense tensor.
    fn dense_span(&self) -> Option<std::ops::Range<usize>> {
        let size = self.dtype().size();
        let start = self.offset() as usize * size;
        self.is_dense_in_any_order()
            .then(|| start..start + self.numel() * size)
            .filter(|span| span.end <= self.storage().len())
    }

    /// An immutable copy; bytes are copied only if they were written by this program.
    pub fn to_ir(&self) -> Result<planish_ir::Tensor> {
        let (storage, qparams) = (self.storage().snapshot(), self.qparams());
        // A write would have moved the bytes.
        if let Some(constant) = &self.parts().constant
            && constant.storage().as_ptr() == storage.as_ptr()
            && constant.qparams() == qparams.as_ref()
        {
            return Ok(constant.clone());
        }
        let tensor = planish_ir::Tensor::strided(
            self.dtype(),
            self.shape(),
            self.strides(),
            self.offset(),
            storage,
        )?;
        Ok(match qparams {
            Some(qparams) => tensor.with_qparams(qparams)?,
            None => tensor,
        })
    }
}

impl From<&planish_ir::Tensor> for Tensor {
    /// The same elements; nothing is copied until this tensor is written to.
    fn from(tensor: &planish_ir::Tensor) -> Self {
        Self(Arc::new(Parts {
            dtype: tensor.dtype(),
            shape: tensor.shape().into(),
            strides: tensor.strides().into(),
            offset: tensor.offset(),
            storage: Storage::shared(tensor.storage().clone()),
            qparams: RwLock::new(tensor.qparams().cloned()),
            turned: OnceLock::new(),
            constant: Some(tensor.clone()),
        }))
    }
}

/// Equal element type, shape, quantization and elements (by bits); layout in memory does not count.
impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        let bits = |tensor: &Self| tensor.logical_bytes().ok();
        self.dtype() == other.dtype()
            && self.shape() == other.shape()
            && self.qparams() == other.qparams()
            && bits(self).is_some()
            && bits(self) == bits(other)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype(), self.shape())
    }
}

/// Fails unless a view stays inside a storage of `available` bytes and names no more elements than memory could hold.
fn check_bounds(
    dtype: DType,
    shape: &[i64],
    strides: &[i64],
    offset: i64,
    available: usize,
) -> Result<()> {
    if shape.len() != strides.len() || shape.iter().any(|size| *size < 0) {
        return Err(TensorError::Shape {
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
        .into());
    }
    let (mut first, mut last, mut numel) = (i128::from(offset), i128::from(offset), 1i128);
    for (size, stride) in shape.iter().zip(strides) {
        numel = numel.saturating_mul(i128::from(*size));
        let reach = i128::from((size - 1).max(0)) * i128::from(*stride);
        first += reach.min(0);
        last += reach.max(0);
    }
    let needed = if numel == 0 {
        0
    } else {
        (last + 1).saturating_mul(dtype.size() as i128)
    };
    let countable = numel.saturating_mul(dtype.size() as i128) <= isize::MAX as i128;
    if offset < 0 || (numel > 0 && first < 0) || needed > available as i128 || !countable {
        return Err(TensorError::OutOfBounds {
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            needed: if countable { needed } else { numel },
            available,
        }
        .into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_writes_and_a_constant_never_changes() {
        let constant = planish_ir::Tensor::from_values(&[2, 2], &[1f32, 2., 3., 4.]).unwrap();
        let tensor = Tensor::from(&constant);
        let row = tensor.select(0, 1).unwrap();
        row.write_elements(&[7f32, 8.]).unwrap();
        assert_eq!(tensor.values::<f32>().unwrap(), [1., 2., 7., 8.]);
        assert_eq!(constant.values::<f32>().unwrap(), [1., 2., 3., 4.]);
        let changed = tensor.to_ir().unwrap();
        assert_eq!(changed.values::<f32>().unwrap(), [1., 2., 7., 8.]);
    }

    #[test]
    fn new_parameters_show_in_the_constant_that_is_made() {
        let grid = |scale| QParams::PerTensor {
            scale,
            zero_point: 0,
        };
        let codes = planish_ir::Tensor::new(DType::QInt8, &[2], vec![1, 2]).unwrap();
        let tensor = Tensor::from(&codes.with_qparams(grid(0.5)).unwrap());
        assert_eq!(tensor.to_ir().unwrap().qparams(), Some(&grid(0.5)));
        tensor.set_qparams(grid(0.25));
        assert_eq!(tensor.to_ir().unwrap().qparams(), Some(&grid(0.25)));
    }

    #[test]
    fn a_view_outside_its_storage_is_refused() {
        let tensor = Tensor::from_values(&[4], &[0u8; 4]).unwrap();
        assert!(tensor.as_strided(&[5], &[1], 0).is_err());
        assert!(tensor.as_strided(&[2], &[-1], 0).is_err());
        assert!(
            tensor
                .as_strided(&[i64::MAX, i64::MAX], &[0, 0], 0)
                .is_err()
        );
    }
}
