//! The loop under every elementwise operator: broadcasting, common type, layout of the result.
//!
//! Floating-point arithmetic is done in `f64` and rounded once to the result's type. For one addition, subtraction, multiplication,
//! division or square root of `f32` values this gives exactly what `f32` arithmetic gives: `f64` has more than twice the digits.

use planish_ir::{DType, Dims};

use crate::promote::{Operand, common_type};
use crate::tensor::{dense_in_order, is_dense, memory_order};
use crate::{Error, MemoryFormat, Result, Tensor};

/// Operands that were brought to one shape.
pub(crate) struct Elementwise {
    /// The type in which the operands are combined.
    pub(crate) dtype: DType,
    pub(crate) shape: Dims,
    /// Strides of the result.
    pub(crate) strides: Dims,
    operands: Vec<Operand>,
}

impl Elementwise {
    pub(crate) fn new(operands: Vec<Operand>) -> Result<Self> {
        let dtype = common_type(&operands);
        let (shape, strides, tensors) = broadcast(&tensors_of(&operands))?;
        let mut tensors = tensors.into_iter();
        let operands = operands.into_iter().map(|operand| match operand {
            Operand::Tensor(_) => tensors.next().map(Operand::Tensor),
            number @ Operand::Number(_) => Some(number),
        });
        let operands: Option<Vec<_>> = operands.collect();
        Ok(Self {
            dtype,
            shape,
            strides,
            operands: operands.expect("broadcasting gives back as many tensors as it takes"),
        })
    }

    /// Whether the common type is an integer type or bool.
    pub(crate) fn is_integral(&self) -> bool {
        !self.dtype.is_floating_point()
    }

    /// An operand's elements as integers, in logical order.
    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>> {
        match &self.operands[index] {
            Operand::Tensor(tensor) => tensor.to_i64(),
            Operand::Number(number) => Ok(vec![number.to_i64(); self.numel()]),
        }
    }

    /// An operand's elements as floats, rounded to the common type, in logical order.
    pub(crate) fn floats(&self, index: usize) -> Result<Vec<f64>> {
        match &self.operands[index] {
            // A tensor without dimensions may be more precise than the common type.
            Operand::Tensor(tensor)
                if tensor.dtype() != self.dtype && self.dtype != DType::Double =>
            {
                let values = tensor.to_f64()?.into_iter();
                Ok(values.map(|value| f64::from(value as f32)).collect())
            }
            Operand::Tensor(tensor) => tensor.to_f64(),
            // Arithmetic on halves is done in single precision, and so are numbers rounded.
            Operand::Number(number) if self.dtype == DType::Double => {
                Ok(vec![number.to_f64(); self.numel()])
            }
            Operand::Number(number) => Ok(vec![f64::from(number.to_f64() as f32); self.numel()]),
        }
    }

    /// An empty result.
    pub(crate) fn result(&self, dtype: DType) -> Result<Tensor> {
        Tensor::zeros_strided(dtype, &self.shape, &self.strides)
    }

    /// Combines two operands; `out` takes the result in place of a new tensor.
    pub(crate) fn binary(
        &self,
        out: Option<&Tensor>,
        int: impl Fn(i64, i64) -> i64,
        float: impl Fn(f64, f64) -> f64,
    ) -> Result<Tensor> {
        let out = self.target(out, self.dtype)?;
        if self.is_integral() {
            let (a, b) = (self.ints(0)?, self.ints(1)?);
            let values: Vec<i64> = a.iter().zip(&b).map(|(a, b)| int(*a, *b)).collect();
            out.write_i64(&values)?;
        } else {
            let (a, b) = (self.floats(0)?, self.floats(1)?);
            let values: Vec<f64> = a.iter().zip(&b).map(|(a, b)| float(*a, *b)).collect();
            out.write_f64(&values)?;
        }
        Ok(out)
    }

    /// Compares two operands; the result is a tensor of bools.
    pub(crate) fn compare(
        &self,
        int: impl Fn(i64, i64) -> bool,
        float: impl Fn(f64, f64) -> bool,
    ) -> Result<Tensor> {
        let out = self.result(DType::Bool)?;
        let truth: Vec<u8> = if self.is_integral() {
            let (a, b) = (self.ints(0)?, self.ints(1)?);
            a.iter()
                .zip(&b)
                .map(|(a, b)| u8::from(int(*a, *b)))
                .collect()
        } else {
            let (a, b) = (self.floats(0)?, self.floats(1)?);
            a.iter()
                .zip(&b)
                .map(|(a, b)| u8::from(float(*a, *b)))
                .collect()
        };
        out.write_elements(&truth)?;
        Ok(out)
    }

    /// `out`, which must have the shape of the result and a type that can take it, or a new tensor.
    pub(crate) fn target(&self, out: Option<&Tensor>, dtype: DType) -> Result<Tensor> {
        let Some(out) = out else {
            return self.result(dtype);
        };
        let fits = out.shape() == &self.shape[..]
            && (out.dtype().is_floating_point() || !dtype.is_floating_point());
        if fits {
            return Ok(out.clone());
        }
        let shape = &self.shape;
        Err(Error::Invalid(format!(
            "a result {dtype}{shape:?} cannot be written to {out:?}"
        )))
    }

    fn numel(&self) -> usize {
        self.shape.iter().map(|size| *size as usize).product()
    }
}

/// Applies a function of one float to each element. Integers become floats.
pub(crate) fn map_float(input: &Tensor, f: impl Fn(f64) -> f64) -> Result<Tensor> {
    let dtype = if input.dtype().is_floating_point() {
        input.dtype()
    } else {
        DType::Float
    };
    let out = like(input, dtype)?;
    map_into(input, &out, f)?;
    Ok(out)
}

/// Applies a function to each element of `input` and writes the results to `out`, which has the same shape.
pub(crate) fn map_into(input: &Tensor, out: &Tensor, f: impl Fn(f64) -> f64) -> Result<()> {
    let values: Vec<f64> = input.to_f64()?.into_iter().map(f).collect();
    out.write_f64(&values)
}

/// Zeros of the shape and layout of `input` (PyTorch: `empty_like`).
pub(crate) fn like(input: &Tensor, dtype: DType) -> Result<Tensor> {
    let strides = crate::tensor::preserved_strides(input.shape(), input.strides());
    Tensor::zeros_strided(dtype, input.shape(), &strides)
}

/// The shape that all tensors broadcast to, the strides of an elementwise result, and the tensors expanded to the shape.
pub(crate) fn broadcast(tensors: &[&Tensor]) -> Result<(Dims, Dims, Vec<Tensor>)> {
    let rank = tensors.iter().map(|t| t.rank()).max().unwrap_or(0);
    let mut shape: Dims = (0..rank).map(|_| 1).collect();
    for tensor in tensors {
        for (dim, size) in (rank - tensor.rank()..rank).zip(tensor.shape()) {
            if shape[dim] == 1 {
                shape[dim] = *size;
            } else if *size != 1 && *size != shape[dim] {
                let shapes: Vec<&[i64]> = tensors.iter().map(|t| t.shape()).collect();
                return Err(Error::Invalid(format!(
                    "shapes {shapes:?} do not broadcast together"
                )));
            }
        }
    }
    let strides = result_strides(&shape, tensors);
    let expanded = tensors.iter().map(|t| t.expand(&shape));
    let expanded: Vec<Tensor> = expanded.collect::<Result<_>>()?;
    let strides = strides.unwrap_or_else(|| {
        // A dimension that is broadcast has no opinion about the order, and expanding gave it the stride 0.
        let operands: Vec<&[i64]> = expanded.iter().map(Tensor::strides).collect();
        dense_in_order(&shape, &memory_order(&shape, &operands))
    });
    Ok((shape, strides, expanded))
}

/// Strides of the result when all operands have its shape and agree on the layout.
fn result_strides(shape: &[i64], tensors: &[&Tensor]) -> Option<Dims> {
    let first = tensors.first()?;
    if tensors.iter().any(|t| t.shape() != shape) {
        return None;
    }
    for format in [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast] {
        if tensors.iter().all(|t| t.is_dense(format)) {
            return Some(format.strides(shape));
        }
    }
    let agree = tensors.iter().all(|t| t.strides() == first.strides());
    (agree && is_dense(shape, first.strides())).then(|| first.strides().into())
}

fn tensors_of(operands: &[Operand]) -> Vec<&Tensor> {
    let tensors = operands.iter().filter_map(|operand| match operand {
        Operand::Tensor(tensor) => Some(tensor),
        Operand::Number(_) => None,
    });
    tensors.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_their_operands() {
        let last = Tensor::zeros(DType::Float, &[2, 3, 4, 5], MemoryFormat::ChannelsLast).unwrap();
        let row = Tensor::zeros(DType::Float, &[3, 1, 1], MemoryFormat::Contiguous).unwrap();
        let (shape, strides, _) = broadcast(&[&last, &row]).unwrap();
        assert_eq!((&shape[..], &strides[..]), (last.shape(), last.strides()));
        let flat = Tensor::zeros(DType::Float, &[2, 3, 4, 5], MemoryFormat::Contiguous).unwrap();
        let (_, strides, _) = broadcast(&[&flat, &last]).unwrap();
        assert_eq!(&strides[..], flat.strides());
        assert!(broadcast(&[&flat, &row.expand(&[3, 2, 2]).unwrap()]).is_err());
    }

    #[test]
    fn a_double_without_dimensions_is_rounded_to_the_floats_it_meets() {
        let x = Tensor::from_values(&[2], &[2.5159168f32, 0.7]).unwrap();
        let factor = Tensor::scalar(-1.3f64).unwrap();
        let product = Elementwise::new(vec![(&x).into(), (&factor).into()]).unwrap();
        let product = product.binary(None, |a, _| a, |a, b| a * b).unwrap();
        let expected: Vec<f32> = [2.5159168f32, 0.7].map(|x| x * -1.3).into();
        assert_eq!(product.to_f32().unwrap(), expected);
    }
}
