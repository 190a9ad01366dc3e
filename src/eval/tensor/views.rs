//! Views: other sizes and strides over the same storage.

use planish_ir::{Dims, QParams};

use super::{MemoryFormat, Tensor, preserved_strides};
use crate::{Error, Result};

impl Tensor {
    /// The index of dimension `dim`, which may count from the end.
    pub fn dim_index(&self, dim: i64) -> Result<usize> {
        dim_index(dim, self.rank())
    }

    /// The elements at `index` of a dimension.
    pub fn select(&self, dim: usize, index: i64) -> Result<Self> {
        let size = self.shape()[dim];
        let at = if index < 0 { index + size } else { index };
        if !(0..size).contains(&at) {
            return Err(Error::Invalid(format!(
                "index {index} is out of range for dimension {dim} of size {size}"
            )));
        }
        let offset = self.offset() + at * self.strides()[dim];
        let (mut shape, mut strides) = (Dims::from(self.shape()), Dims::from(self.strides()));
        shape.remove(dim);
        strides.remove(dim);
        self.as_strided(&shape, &strides, offset)
    }

    /// `count` elements of a dimension from `start` on, `step` apart.
    pub fn slice(&self, dim: usize, start: i64, count: i64, step: i64) -> Result<Self> {
        let (mut shape, mut strides) = (Dims::from(self.shape()), Dims::from(self.strides()));
        let offset = self.offset() + start * strides[dim];
        shape[dim] = count;
        strides[dim] = strides[dim].saturating_mul(step);
        self.as_strided(&shape, &strides, offset)
    }

    /// The dimensions in another order.
    pub fn permute(&self, order: &[usize]) -> Result<Self> {
        let pick = |values: &[i64]| order.iter().map(|dim| values[*dim]).collect::<Dims>();
        let view = self.as_strided(&pick(self.shape()), &pick(self.strides()), self.offset())?;
        if let Some(mut qparams @ (QParams::PerChannel { .. } | QParams::PerChannelFloat { .. })) =
            self.qparams()
        {
            if let QParams::PerChannel { axis, .. } | QParams::PerChannelFloat { axis, .. } =
                &mut qparams
            {
                *axis = order.iter().position(|dim| dim == axis).unwrap_or(*axis);
            }
            view.set_qparams(qparams);
        }
        Ok(view)
    }

    /// Two dimensions exchanged.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        let mut order: Vec<usize> = (0..self.rank()).collect();
        if a != b {
            order.swap(a, b);
        }
        self.permute(&order)
    }

    /// A dimension of size 1 more.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self> {
        let (mut shape, mut strides) = (Dims::from(self.shape()), Dims::from(self.strides()));
        let stride = match shape.get(dim) {
            Some(size) => size * strides[dim],
            None => 1,
        };
        shape.insert(dim, 1);
        strides.insert(dim, stride);
        self.as_strided(&shape, &strides, self.offset())
    }

    /// Without those of the given dimensions that have size 1.
    pub fn squeeze(&self, mut drop: impl FnMut(usize) -> bool) -> Result<Self> {
        let keep: Vec<usize> = (0..self.rank())
            .filter(|dim| self.shape()[*dim] != 1 || !drop(*dim))
            .collect();
        let pick = |values: &[i64]| keep.iter().map(|dim| values[*dim]).collect::<Dims>();
        self.as_strided(&pick(self.shape()), &pick(self.strides()), self.offset())
    }

    /// This tensor repeated without a copy until it has `shape`; -1 keeps a size.
    pub fn expand(&self, shape: &[i64]) -> Result<Self> {
        let wrong = || Error::Invalid(format!("{self:?} does not expand to {shape:?}"));
        let new = shape.len().checked_sub(self.rank()).ok_or_else(wrong)?;
        let mut sizes = Dims::from(shape);
        let mut strides: Dims = shape.iter().map(|_| 0).collect();
        for dim in 0..shape.len() {
            let Some(own) = dim.checked_sub(new) else {
                if sizes[dim] < 0 {
                    return Err(wrong());
                }
                continue;
            };
            let (size, stride) = (self.shape()[own], self.strides()[own]);
            if sizes[dim] == -1 || sizes[dim] == size {
                sizes[dim] = size;
                strides[dim] = stride;
            } else if size != 1 || sizes[dim] < 0 {
                return Err(wrong());
            }
        }
        self.as_strided(&sizes, &strides, self.offset())
    }

    /// The same elements in the same order with other sizes (one of which may be -1), as a view; `None` when the strides do not allow it.
    pub fn view(&self, shape: &[i64]) -> Result<Option<Self>> {
        let shape = self.inferred(shape)?;
        match view_strides(self.shape(), self.strides(), &shape) {
            Some(strides) => Ok(Some(self.as_strided(&shape, &strides, self.offset())?)),
            None => Ok(None),
        }
    }

    /// The same elements in the same order with other sizes: a view where the strides allow it, else a copy.
    pub fn reshape(&self, shape: &[i64]) -> Result<Self> {
        if let Some(view) = self.view(shape)? {
            return Ok(view);
        }
        let shape = self.inferred(shape)?;
        let copy = self.contiguous(MemoryFormat::Contiguous)?;
        let strides = MemoryFormat::Contiguous.strides(&shape);
        copy.as_strided(&shape, &strides, copy.offset())
    }

    /// This tensor if it is dense in the given order, else a copy that is.
    pub fn contiguous(&self, format: MemoryFormat) -> Result<Self> {
        if self.is_dense(format) {
            return Ok(self.clone());
        }
        self.copy_strided(&format.strides(self.shape()))
    }

    /// A copy in the given order, or in this tensor's own.
    pub fn copied(&self, format: Option<MemoryFormat>) -> Result<Self> {
        match format {
            Some(format) => self.copy_strided(&format.strides(self.shape())),
            None => self.copy_strided(&preserved_strides(self.shape(), self.strides())),
        }
    }

    /// `shape` with -1 replaced by what the number of elements asks for.
    fn inferred(&self, shape: &[i64]) -> Result<Dims> {
        let wrong = || Error::Invalid(format!("shape {shape:?} does not fit {self:?}"));
        let mut sizes = Dims::from(shape);
        let mut open = None;
        let mut known: i64 = 1;
        for (dim, size) in shape.iter().enumerate() {
            match size {
                -1 if open.is_none() => open = Some(dim),
                0.. => known = known.checked_mul(*size).ok_or_else(wrong)?,
                _ => return Err(wrong()),
            }
        }
        let numel = self.numel() as i64;
        match open {
            Some(dim) if known > 0 && numel % known == 0 => sizes[dim] = numel / known,
            None if known == numel => {}
            _ => return Err(wrong()),
        }
        Ok(sizes)
    }
}

/// The index of dimension `dim`, which may count from the end, among `rank`; a scalar counts as one dimension.
pub(crate) fn dim_index(dim: i64, rank: usize) -> Result<usize> {
    let count = rank.max(1) as i64;
    let at = if dim < 0 { dim + count } else { dim };
    if !(0..count).contains(&at) {
        return Err(Error::Invalid(format!(
            "dimension {dim} is out of range for {rank} dimensions"
        )));
    }
    Ok(at as usize)
}

/// Strides with which a view of the sizes `new` shows the same elements in the same order, if there are any.
fn view_strides(shape: &[i64], strides: &[i64], new: &[i64]) -> Option<Dims> {
    if shape.contains(&0) {
        return Some(MemoryFormat::Contiguous.strides(new));
    }
    let mut out: Dims = new.iter().map(|_| 0).collect();
    let mut to = new.len();
    // Old dimensions fall into runs that are contiguous among themselves; each run must be filled by whole new dimensions.
    let mut dim = shape.len();
    while dim > 0 {
        let base = strides[dim - 1];
        let mut run = shape[dim - 1];
        while dim > 1 && (shape[dim - 2] == 1 || strides[dim - 2] == run.checked_mul(base)?) {
            run *= shape[dim - 2];
            dim -= 1;
        }
        dim -= 1;
        let mut filled = 1;
        while to > 0 && (filled < run || new[to - 1] == 1) {
            to -= 1;
            out[to] = base.checked_mul(filled)?;
            filled *= new[to];
        }
        if filled != run {
            return None;
        }
    }
    while to > 0 {
        to -= 1;
        if new[to] != 1 {
            return None;
        }
        out[to] = 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_the_strides_do_not_allow_is_copied() {
        let values: Vec<i32> = (0..24).collect();
        let tensor = Tensor::from_values(&[2, 3, 4], &values).unwrap();
        let view = tensor.view(&[6, -1]).unwrap().unwrap();
        assert_eq!((view.shape(), view.strides()), (&[6, 4][..], &[4, 1][..]));
        let turned = tensor.transpose(1, 2).unwrap();
        assert!(turned.view(&[2, 12]).unwrap().is_none());
        assert_eq!(
            turned.reshape(&[24]).unwrap().values::<i32>().unwrap()[..4],
            [0, 4, 8, 1]
        );
        assert!(tensor.view(&[5, -1]).is_err() && tensor.view(&[-1, -1]).is_err());
    }

    #[test]
    fn expansion_repeats_without_a_copy() {
        let tensor = Tensor::from_values(&[2, 1], &[1f32, 2.]).unwrap();
        assert!(tensor.expand(&[-1, 2, 3]).is_err() && tensor.expand(&[3, 3]).is_err());
        let wide = tensor.expand(&[2, 3]).unwrap();
        assert_eq!(wide.to_f32().unwrap(), [1., 1., 1., 2., 2., 2.]);
        assert_eq!(wide.strides(), [1, 0]);
    }
}
