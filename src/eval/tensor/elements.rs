//! Reading and writing elements.

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};
use planish_ir::{DType, Dims, Element};

use super::Tensor;
use crate::limits::room;
use crate::{Error, Result};

/// A Rust type of which every bit pattern is a value: how elements are stored.
pub trait Raw: AnyBitPattern + NoUninit {}

impl<T: AnyBitPattern + NoUninit> Raw for T {}

impl Tensor {
    /// The elements in logical order, when `T` is how this type's elements are stored; quantized types are read as their codes.
    pub fn values<T: Element>(&self) -> Result<Vec<T>> {
        if !T::reads(self.dtype()) {
            return Err(Error::Invalid(format!(
                "elements of type {} are not stored as {}",
                self.dtype(),
                T::DTYPE
            )));
        }
        self.elements()
    }

    /// The elements of a tensor of real numbers as `f32`, in logical order. Codes of quantized tensors are not numbers.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        Ok(match self.dtype() {
            DType::Float => self.elements::<f32>()?,
            DType::Half => map(self.elements::<u16>()?, |x| f16::from_bits(x).to_f32()),
            DType::BFloat16 => map(self.elements::<u16>()?, |x| bf16::from_bits(x).to_f32()),
            DType::Double => map(self.elements::<f64>()?, |x| x as f32),
            _ => map(self.to_i64()?, |x| x as f32),
        })
    }

    /// The elements of a tensor of real numbers as `f64`, in logical order.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype() {
            DType::Double => self.elements::<f64>()?,
            DType::Float | DType::Half | DType::BFloat16 => map(self.to_f32()?, f64::from),
            _ => map(self.to_i64()?, |x| x as f64),
        })
    }

    /// The elements of a tensor of real numbers as integers (fractions are cut off), in logical order.
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        Ok(match self.dtype() {
            DType::Long => self.elements::<i64>()?,
            DType::Int => map(self.elements::<i32>()?, i64::from),
            DType::Short => map(self.elements::<i16>()?, i64::from),
            DType::Char => map(self.elements::<i8>()?, i64::from),
            DType::Byte => map(self.elements::<u8>()?, i64::from),
            DType::Bool => map(self.elements::<u8>()?, |x| i64::from(x != 0)),
            DType::Double => map(self.elements::<f64>()?, |x| x as i64),
            DType::Float | DType::Half | DType::BFloat16 => map(self.to_f32()?, |x| x as i64),
            other => {
                return Err(Error::Unsupported(format!(
                    "elements of type {other} as plain numbers"
                )));
            }
        })
    }

    /// The codes of a quantized tensor of a type of one byte or of `QInt32`, in logical order.
    pub fn codes(&self) -> Result<Vec<i32>> {
        Ok(match self.dtype() {
            DType::QUInt8 | DType::QUInt4x2 => map(self.elements::<u8>()?, i32::from),
            DType::QInt8 => map(self.elements::<i8>()?, i32::from),
            DType::QInt32 => self.elements::<i32>()?,
            other => return Err(Error::Unsupported(format!("codes of type {other}"))),
        })
    }

    /// Writes `values`, in logical order; `T` is how this type's elements are stored.
    pub fn write_elements<T: Raw>(&self, values: &[T]) -> Result<()> {
        if size_of::<T>() != self.dtype().size() || values.len() != self.numel() {
            return Err(Error::Invalid(format!(
                "{} elements of {} bytes do not fill {self:?}",
                values.len(),
                size_of::<T>()
            )));
        }
        let mut bytes = self.storage().write()?;
        scatter(
            &mut bytes,
            self.shape(),
            self.strides(),
            self.offset(),
            values,
        );
        Ok(())
    }

    /// Writes real numbers, in logical order, converted to this tensor's type.
    pub(crate) fn write_f32(&self, values: &[f32]) -> Result<()> {
        match self.dtype() {
            DType::Float => self.write_elements(values),
            DType::Half => {
                self.write_elements::<u16>(&each(values, |x| f16::from_f32(x).to_bits()))
            }
            DType::BFloat16 => {
                self.write_elements::<u16>(&each(values, |x| bf16::from_f32(x).to_bits()))
            }
            _ => self.write_f64(&each(values, f64::from)),
        }
    }

    /// Writes real numbers, in logical order, converted to this tensor's type.
    pub(crate) fn write_f64(&self, values: &[f64]) -> Result<()> {
        match self.dtype() {
            DType::Double => self.write_elements(values),
            DType::Float | DType::Half | DType::BFloat16 => {
                self.write_f32(&each(values, |x| x as f32))
            }
            DType::Bool => self.write_elements(&each(values, |x| u8::from(x != 0.0))),
            _ => self.write_i64(&each(values, |x| x as i64)),
        }
    }

    /// Writes integers, in logical order, converted to this tensor's type (high bits are cut off).
    pub(crate) fn write_i64(&self, values: &[i64]) -> Result<()> {
        match self.dtype() {
            DType::Long => self.write_elements(values),
            DType::Int => self.write_elements(&each(values, |x| x as i32)),
            DType::Short => self.write_elements(&each(values, |x| x as i16)),
            DType::Char => self.write_elements(&each(values, |x| x as i8)),
            DType::Byte => self.write_elements(&each(values, |x| x as u8)),
            DType::Bool => self.write_elements(&each(values, |x| u8::from(x != 0))),
            DType::Double => self.write_elements(&each(values, |x| x as f64)),
            DType::Float | DType::Half | DType::BFloat16 => {
                self.write_f32(&each(values, |x| x as f32))
            }
            other => Err(Error::Unsupported(format!(
                "numbers as elements of type {other}"
            ))),
        }
    }

    /// Writes codes, in logical order; they must be in the type's range.
    pub(crate) fn write_codes(&self, codes: &[i32]) -> Result<()> {
        match self.dtype() {
            DType::QUInt8 | DType::QUInt4x2 => self.write_elements(&each(codes, |x| x as u8)),
            DType::QInt8 => self.write_elements(&each(codes, |x| x as i8)),
            DType::QInt32 => self.write_elements(codes),
            other => Err(Error::Unsupported(format!("codes of type {other}"))),
        }
    }

    /// The elements in logical order, as they are stored.
    pub(crate) fn elements<T: Raw>(&self) -> Result<Vec<T>> {
        if size_of::<T>() != self.dtype().size() {
            return Err(Error::Invalid(format!(
                "elements of type {} do not have {} bytes",
                self.dtype(),
                size_of::<T>()
            )));
        }
        room(self.numel(), size_of::<T>())?;
        let bytes = self.storage().read();
        Ok(gather(&bytes, self.shape(), self.strides(), self.offset()))
    }

    /// The elements in logical order, as bytes.
    pub(crate) fn logical_bytes(&self) -> Result<Vec<u8>> {
        fn bytes<T: Raw>(tensor: &Tensor) -> Result<Vec<u8>> {
            Ok(bytemuck::cast_slice(&tensor.elements::<T>()?).to_vec())
        }
        match self.dtype().size() {
            1 => self.elements::<u8>(),
            2 => bytes::<u16>(self),
            4 => bytes::<u32>(self),
            8 => bytes::<u64>(self),
            _ => bytes::<u128>(self),
        }
    }

    /// A dense copy with the given strides.
    pub(crate) fn copy_strided(&self, strides: &[i64]) -> Result<Self> {
        fn copy<T: Raw>(from: &Tensor, to: &Tensor) -> Result<()> {
            to.write_elements(&from.elements::<T>()?)
        }
        let out = Self::zeros_strided(self.dtype(), self.shape(), strides)?;
        match self.dtype().size() {
            1 => copy::<u8>(self, &out),
            2 => copy::<u16>(self, &out),
            4 => copy::<u32>(self, &out),
            8 => copy::<u64>(self, &out),
            _ => copy::<u128>(self, &out),
        }?;
        match self.qparams() {
            Some(qparams) => out.with_qparams(qparams),
            None => Ok(out),
        }
    }
}

/// The elements of a strided view in logical order.
pub(crate) fn gather<T: Raw>(bytes: &[u8], shape: &[i64], strides: &[i64], offset: i64) -> Vec<T> {
    let size = size_of::<T>();
    let mut out = Vec::with_capacity(shape.iter().map(|size| *size as usize).product());
    match bytemuck::try_cast_slice::<u8, T>(bytes) {
        Ok(all) => for_each_run(
            shape,
            strides,
            offset,
            |start, stride, count| match stride {
                1 => out.extend_from_slice(&all[start..start + count]),
                _ => out.extend((0..count).map(|i| all[at(start, stride, i)])),
            },
        ),
        // A tensor of a file may start anywhere.
        Err(_) => for_each_run(shape, strides, offset, |start, stride, count| {
            out.extend((0..count).map(|i| {
                let here = at(start, stride, i) * size;
                bytemuck::pod_read_unaligned::<T>(&bytes[here..here + size])
            }));
        }),
    }
    out
}

/// Writes elements in logical order to a strided view.
pub(crate) fn scatter<T: Raw>(
    bytes: &mut [u8],
    shape: &[i64],
    strides: &[i64],
    offset: i64,
    values: &[T],
) {
    let size = size_of::<T>();
    let mut from = 0;
    for_each_run(shape, strides, offset, |start, stride, count| {
        let run = &values[from..from + count];
        from += count;
        if stride == 1 {
            bytes[start * size..(start + count) * size].copy_from_slice(bytemuck::cast_slice(run));
        } else {
            for (i, value) in run.iter().enumerate() {
                let here = at(start, stride, i) * size;
                bytes[here..here + size].copy_from_slice(bytemuck::bytes_of(value));
            }
        }
    });
}

/// Calls `run(start, stride, count)` for runs of elements that lie evenly apart, in logical order; as few as the strides allow.
fn for_each_run(
    shape: &[i64],
    strides: &[i64],
    offset: i64,
    mut run: impl FnMut(usize, i64, usize),
) {
    if shape.contains(&0) {
        return;
    }
    let (shape, strides) = merged(shape, strides);
    let (Some((count, outer)), Some(stride)) = (shape.split_last(), strides.last()) else {
        return run(offset as usize, 1, 1);
    };
    let mut index: Dims = outer.iter().map(|_| 0).collect();
    let mut start = offset;
    loop {
        run(start as usize, *stride, *count as usize);
        let mut dim = outer.len();
        loop {
            if dim == 0 {
                return;
            }
            dim -= 1;
            index[dim] += 1;
            start += strides[dim];
            if index[dim] < outer[dim] {
                break;
            }
            start -= strides[dim] * outer[dim];
            index[dim] = 0;
        }
    }
}

/// The same elements in the same order with as few dimensions as possible: one that steps over exactly the next one joins it.
fn merged(shape: &[i64], strides: &[i64]) -> (Dims, Dims) {
    let (mut sizes, mut steps) = (Dims::new(), Dims::new());
    for (size, stride) in shape.iter().zip(strides).filter(|(size, _)| **size != 1) {
        match (sizes.last_mut(), steps.last_mut()) {
            (Some(outer), Some(step)) if Some(*step) == stride.checked_mul(*size) => {
                *outer *= size;
                *step = *stride;
            }
            _ => {
                sizes.push(*size);
                steps.push(*stride);
            }
        }
    }
    (sizes, steps)
}

fn at(start: usize, stride: i64, index: usize) -> usize {
    (start as i64 + stride * index as i64) as usize
}

fn map<T, U>(values: Vec<T>, f: impl FnMut(T) -> U) -> Vec<U> {
    values.into_iter().map(f).collect()
}

fn each<T: Copy, U>(values: &[T], f: impl FnMut(T) -> U) -> Vec<U> {
    values.iter().copied().map(f).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_views_read_and_write_in_logical_order() {
        let tensor = Tensor::from_values(&[2, 3], &[1i32, 2, 3, 4, 5, 6]).unwrap();
        let turned = tensor.as_strided(&[3, 2], &[1, 3], 0).unwrap();
        assert_eq!(turned.values::<i32>().unwrap(), [1, 4, 2, 5, 3, 6]);
        turned.write_i64(&[10, 40, 20, 50, 30, 60]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [10., 20., 30., 40., 50., 60.]);
    }

    #[test]
    fn runs_are_as_long_as_the_strides_allow() {
        let runs = |shape: &[i64], strides: &[i64]| {
            let mut runs = Vec::new();
            for_each_run(shape, strides, 7, |start, stride, count| {
                runs.push((start, stride, count));
            });
            runs
        };
        assert_eq!(runs(&[2, 3, 4], &[12, 4, 1]), [(7, 1, 24)]);
        assert_eq!(runs(&[2, 1, 4], &[8, 99, 2]), [(7, 2, 8)]);
        assert_eq!(runs(&[2, 3], &[1, 2]), [(7, 2, 3), (8, 2, 3)]);
        assert_eq!(runs(&[2, 2, 2], &[9, 2, 1]), [(7, 1, 4), (16, 1, 4)]);
        assert_eq!(runs(&[3, 2], &[0, 0]), [(7, 0, 6)]);
        assert_eq!(runs(&[1, 1], &[5, 5]), [(7, 1, 1)]);
        assert_eq!(runs(&[], &[]), [(7, 1, 1)]);
        assert_eq!(runs(&[2, 0], &[1, 1]), []);
    }

    #[test]
    fn unaligned_bytes_are_read() {
        let mut bytes = vec![0u8];
        bytes.extend(bytemuck::cast_slice(&[1.5f32, 2.5]));
        let whole = bytes::Bytes::from(bytes);
        let tensor = planish_ir::Tensor::new(DType::Float, &[2], whole.slice(1..)).unwrap();
        assert_eq!(Tensor::from(&tensor).to_f32().unwrap(), [1.5, 2.5]);
    }
}
