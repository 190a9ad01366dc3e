//! Sums, products and joins of quantized tensors.
//!
//! A sum dequantizes most elements with one rounding (`fused`) and the rest of each run with two (`plain`); which elements are which
//! depends on the strides of all operands, see [`in_vectors`].

use planish_ir::{Dims, QParams};

use crate::call::Call;
use crate::ops::elementwise::broadcast;
use crate::ops::quant::{self, Affine, empty, per_tensor, suggested_strides};
use crate::ops::vector::in_vectors;
use crate::ops::{Kernel, Table};
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(in crate::ops) const OPS: Table = &[
    ("quantized::add", One(add)),
    ("quantized::add_relu", One(add)),
    ("quantized::add_out", One(add)),
    ("quantized::add_relu_out", One(add)),
    ("quantized::mul", One(mul)),
    ("quantized::mul_relu", One(mul)),
    ("quantized::mul_out", One(mul)),
    ("quantized::mul_relu_out", One(mul)),
    ("quantized::add_scalar", One(add_scalar)),
    ("quantized::add_scalar_relu", One(add_scalar)),
    ("quantized::add_scalar_out", One(add_scalar)),
    ("quantized::add_scalar_relu_out", One(add_scalar)),
    ("quantized::mul_scalar", One(mul_scalar)),
    ("quantized::mul_scalar_relu", One(mul_scalar)),
    ("quantized::mul_scalar_out", One(mul_scalar)),
    ("quantized::mul_scalar_relu_out", One(mul_scalar)),
    ("quantized::cat", One(cat)),
    ("quantized::cat_relu", One(cat)),
    ("quantized::cat_out", One(cat_out)),
    ("quantized::cat_relu_out", One(cat_out)),
    ("quantized::matmul", One(matmul)),
];

/// Elements that PyTorch's vector units take at a time.
const BLOCK: i64 = 64;

/// `add(a, b, scale, zero_point)`, or with an output tensor or a number in their place.
fn add(call: &Call<'_>) -> Result<Value> {
    if !matches!(
        (call.get(0), call.get(1)),
        (Value::Tensor(_), Value::Tensor(_))
    ) {
        return add_scalar(call);
    }
    let pair = Pair::new(call)?;
    let fused = in_vectors(
        BLOCK,
        &pair.shape,
        pair.out.strides(),
        &[pair.a.strides(), pair.b.strides()],
    );
    let (x, y, z) = (
        Affine::of(&pair.a)?,
        Affine::of(&pair.b)?,
        Affine::of(&pair.out)?,
    );
    let relu = call.short_name().contains("relu");
    let (a, b) = (pair.a.codes()?, pair.b.codes()?);
    let codes = a.iter().zip(&b).zip(fused).map(|((a, b), fused)| {
        let sum = if fused {
            x.fused(*a) + y.fused(*b)
        } else {
            x.plain(*a) + y.plain(*b)
        };
        z.quantize(if relu { sum.max(0.0) } else { sum })
    });
    pair.out.write_codes(&codes.collect::<Vec<_>>())?;
    Ok(pair.out.into())
}

fn mul(call: &Call<'_>) -> Result<Value> {
    if !matches!(
        (call.get(0), call.get(1)),
        (Value::Tensor(_), Value::Tensor(_))
    ) {
        return mul_scalar(call);
    }
    let pair = Pair::new(call)?;
    let (x, y, z) = (
        Affine::of(&pair.a)?,
        Affine::of(&pair.b)?,
        Affine::of(&pair.out)?,
    );
    let factor = x.scale * y.scale * z.inverse();
    let relu = call.short_name().contains("relu");
    let (a, b) = (pair.a.codes()?, pair.b.codes()?);
    let codes = a.iter().zip(&b).map(|(a, b)| {
        let product = (a - x.zero).wrapping_mul(b - y.zero);
        let code = z.code(product as f32 * factor);
        if relu { code.max(z.zero) } else { code }
    });
    pair.out.write_codes(&codes.collect::<Vec<_>>())?;
    Ok(pair.out.into())
}

/// Two operands brought to one shape, and the tensor that takes the result.
struct Pair {
    a: Tensor,
    b: Tensor,
    out: Tensor,
    shape: Dims,
}

impl Pair {
    fn new(call: &Call<'_>) -> Result<Self> {
        let (a, b) = (call.tensor(0)?, call.tensor(1)?);
        if a.dtype() != b.dtype() {
            return Err(call.wrong(1, "a tensor of the first one's type"));
        }
        let (shape, _, mut expanded) = broadcast(&[a, b])?;
        let out = match call.get(2) {
            Value::Tensor(out) if out.shape() == &shape[..] => out.clone(),
            Value::Tensor(_) => return Err(call.wrong(2, "a tensor of the result's shape")),
            _ => {
                let (scale, zero_point) = quant::qparams(call, 2)?;
                // The first operand's layout is the result's.
                let strides = if a.shape() == &shape[..] {
                    suggested_strides(a)
                } else {
                    MemoryFormat::Contiguous.strides(&shape)
                };
                empty(a.dtype(), &shape, &strides, scale, zero_point)?
            }
        };
        let b = expanded.pop().unwrap_or_else(|| b.clone());
        let a = expanded.pop().unwrap_or_else(|| a.clone());
        Ok(Self { a, b, out, shape })
    }
}

/// `add_scalar(a, number)`: codes stay and the zero point moves, as long as it stays among the codes.
fn add_scalar(call: &Call<'_>) -> Result<Value> {
    let (input, number, out) = scalar_operands(call)?;
    let (scale, zero) = per_tensor(input)?;
    let affine = Affine::of(input)?;
    let (low, high) = affine.range();
    let moved = (number / scale).round_ties_even();
    if moved.is_nan() || moved.abs() >= f64::from(i32::MAX) {
        return Err(call.wrong(1, "so few steps of the scale that 32 bits count them"));
    }
    let target = zero as f64 - moved;
    let (top, bottom) = (f64::from(high), f64::from(low));
    let (new_scale, new_zero) = if target < bottom {
        ((top - target) / (top - bottom) * scale, i64::from(low))
    } else if target > top {
        ((target - bottom) / (top - bottom) * scale, i64::from(high))
    } else {
        (scale, target as i64)
    };
    let codes = input.codes()?;
    let codes: Vec<i32> = if (bottom..=top).contains(&target) {
        codes
    } else {
        let to = Affine::new(new_scale, new_zero, input.dtype())?;
        let factor = affine.scale * to.inverse();
        let steps = |q: i32| (f64::from(q - affine.zero) + moved) as f32;
        codes.iter().map(|q| to.code(steps(*q) * factor)).collect()
    };
    finish(call, input, out, codes, new_scale, new_zero)
}

/// `mul_scalar(a, number)`: the scale takes the factor; a negative one turns the codes around.
fn mul_scalar(call: &Call<'_>) -> Result<Value> {
    let (input, number, out) = scalar_operands(call)?;
    let (scale, zero) = per_tensor(input)?;
    let (low, high) = Affine::of(input)?.range();
    let codes = input.codes()?;
    if number > 0.0 {
        return finish(call, input, out, codes, scale * number, zero);
    }
    if number < 0.0 {
        let codes = codes.iter().map(|q| high + low - q).collect();
        let zero = i64::from(high) + i64::from(low) - zero;
        return finish(call, input, out, codes, -scale * number, zero);
    }
    let codes = vec![0; codes.len()];
    finish(call, input, out, codes, 1.0, 0)
}

/// The tensor, the number, and the output tensor where one is given.
fn scalar_operands<'a>(call: &Call<'a>) -> Result<(&'a Tensor, f64, Option<&'a Tensor>)> {
    let tensor_first = matches!(call.get(0), Value::Tensor(t) if t.dtype().is_quantized());
    let (tensor, number) = if tensor_first { (0, 1) } else { (1, 0) };
    let value = match call.get(number) {
        Value::Tensor(value) if value.numel() == 1 => value.to_f64()?[0],
        _ => call.float(number)?,
    };
    Ok((call.tensor(tensor)?, value, call.tensor_opt(2)?))
}

/// Writes codes under new parameters, to the given output (whose parameters change for everybody) or to a new tensor.
fn finish(
    call: &Call<'_>,
    input: &Tensor,
    out: Option<&Tensor>,
    mut codes: Vec<i32>,
    scale: f64,
    zero_point: i64,
) -> Result<Value> {
    if call.short_name().contains("relu") {
        for code in &mut codes {
            *code = (*code).max(zero_point as i32);
        }
    }
    let out = match out {
        Some(out) if out.shape() != input.shape() || out.dtype() != input.dtype() => {
            return Err(call.wrong(2, "a tensor like the first one"));
        }
        Some(out) => {
            out.set_qparams(QParams::PerTensor { scale, zero_point });
            out.clone()
        }
        None => {
            let strides = suggested_strides(input);
            empty(input.dtype(), input.shape(), &strides, scale, zero_point)?
        }
    };
    out.write_codes(&codes)?;
    Ok(out.into())
}

/// `cat(tensors, dim, scale, zero_point)`
fn cat(call: &Call<'_>) -> Result<Value> {
    let tensors = call.tensors(0)?;
    let Some(first) = tensors.first() else {
        return Err(call.wrong(0, "at least one tensor"));
    };
    let (scale, zero_point) = per_tensor(first)?;
    let scale = call.float_opt(2)?.unwrap_or(scale);
    let zero_point = call.int_opt(3)?.unwrap_or(zero_point);
    let relu = call.short_name().contains("relu");
    Ok(joined(&tensors, call.int(1)?, scale, zero_point, relu)?.into())
}

/// `cat_out(tensors, dim, out)`: with the parameters of what is written to.
fn cat_out(call: &Call<'_>) -> Result<Value> {
    let (tensors, out) = (call.tensors(0)?, call.tensor(2)?);
    if tensors.is_empty() {
        return Err(call.wrong(0, "at least one tensor"));
    }
    let (scale, zero_point) = per_tensor(out)?;
    let relu = call.short_name().contains("relu");
    let result = joined(&tensors, call.int(1)?, scale, zero_point, relu)?;
    if result.shape() != out.shape() || result.dtype() != out.dtype() {
        return Err(call.wrong(2, "a tensor of the result's shape"));
    }
    super::unary::overwrite(out, &result)
}

/// `matmul(a, b, scale, zero_point)`: the product of what the codes stand for.
fn matmul(call: &Call<'_>) -> Result<Value> {
    let (scale, zero_point) = quant::qparams(call, 2)?;
    let [a, b] = [0, 1].map(|at| call.tensor(at).and_then(quant::dequantized));
    let product = call.other("aten::matmul", &[a?.into(), b?.into()])?;
    let dtype = Value::Int(call.tensor(0)?.dtype().code());
    let args = [product, scale.into(), zero_point.into(), dtype];
    call.other("aten::quantize_per_tensor", &args)
}

/// `aten::cat` of quantized tensors: the result has the first one's parameters.
pub(in crate::ops) fn cat_like_first(tensors: &[Tensor], dim: i64) -> Result<Value> {
    let Some(first) = tensors.first() else {
        return Err(Error::invalid("there are no tensors to join"));
    };
    let (scale, zero_point) = per_tensor(first)?;
    Ok(joined(tensors, dim, scale, zero_point, false)?.into())
}

/// Each source is dequantized and quantized with the result's parameters.
fn joined(tensors: &[Tensor], dim: i64, scale: f64, zero_point: i64, relu: bool) -> Result<Tensor> {
    let first = &tensors[0];
    let dim = first.dim_index(dim)?;
    let mut shape = Dims::from(first.shape());
    let Some(size) = shape.get_mut(dim) else {
        return Err(Error::invalid(
            "tensors without dimensions cannot be joined",
        ));
    };
    *size = 0;
    for tensor in tensors {
        let fits = tensor.rank() == shape.len()
            && tensor.dtype() == first.dtype()
            && (0..shape.len()).all(|d| d == dim || tensor.shape()[d] == shape[d]);
        if !fits {
            return Err(Error::Invalid(format!(
                "{tensor:?} does not join {first:?} along dimension {dim}"
            )));
        }
        shape[dim] += tensor.shape()[dim];
    }
    let last = matches!(shape.len(), 4 | 5)
        && tensors
            .iter()
            .all(|t| t.is_dense(MemoryFormat::ChannelsLast));
    let blocks = last && dim == 1 && shape.len() == 4;
    let format = if last {
        MemoryFormat::ChannelsLast
    } else {
        MemoryFormat::Contiguous
    };
    let out = empty(
        first.dtype(),
        &shape,
        &format.strides(&shape),
        scale,
        zero_point,
    )?;
    let to = Affine::of(&out)?;
    let mut start = 0;
    for tensor in tensors {
        let size = tensor.shape()[dim];
        let from = Affine::of(tensor)?;
        let plane: i64 = shape.get(2..).unwrap_or_default().iter().product();
        // In channels-last order PyTorch converts eight channels at a time.
        let fused = if blocks { size / 8 * 8 * plane } else { 0 };
        let image = size * plane;
        let same = per_tensor(tensor)? == (scale, zero_point) && !relu && blocks;
        let codes = tensor.codes()?.into_iter().enumerate().map(|(at, q)| {
            if same {
                return q;
            }
            let value = if blocks && (at as i64) % image < fused {
                from.fused(q)
            } else {
                from.plain(q)
            };
            to.quantize(if relu { value.max(0.0) } else { value })
        });
        let codes: Vec<i32> = codes.collect();
        if !codes.is_empty() {
            out.slice(dim, start, size, 1)?.write_codes(&codes)?;
        }
        start += size;
    }
    Ok(out)
}

/// A quantized tensor whose codes are computed one by one from another's; strides and parameters are the result's.
pub(super) fn mapped(
    input: &Tensor,
    strides: &[i64],
    scale: f64,
    zero_point: i64,
    f: impl Fn(i32, bool) -> i32,
) -> Result<Tensor> {
    let out = empty(input.dtype(), input.shape(), strides, scale, zero_point)?;
    let fused = in_vectors(BLOCK, input.shape(), strides, &[input.strides()]);
    let codes = input.codes()?.into_iter().zip(fused);
    out.write_codes(&codes.map(|(q, fused)| f(q, fused)).collect::<Vec<_>>())?;
    Ok(out)
}
