//! Making tensors, reading single elements, converting between numbers and tensors.

use planish_ir::{DType, Dims};

use super::elementwise::{like, map_into};
use super::join::convert_into;
use super::{Kernel, Table};
use crate::call::{Call, Scalar};
use crate::promote::{Operand, common_type, number_type, promote};
use crate::tensor::preserved_strides;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("aten::zeros", One(zeros)),
    ("aten::ones", One(ones)),
    ("aten::empty", One(zeros)),
    ("aten::full", One(full)),
    ("aten::zeros_like", One(zeros_like)),
    ("aten::ones_like", One(ones_like)),
    ("aten::empty_like", One(zeros_like)),
    ("aten::full_like", One(full_like)),
    ("aten::new_zeros", One(new_zeros)),
    ("aten::new_empty", One(new_zeros)),
    ("aten::new_ones", One(new_ones)),
    ("aten::new_full", One(new_full)),
    ("aten::fill_", One(fill_in_place)),
    ("aten::zero_", One(fill_in_place)),
    ("aten::arange", One(arange)),
    ("aten::linspace", One(linspace)),
    ("aten::logspace", One(logspace)),
    ("aten::scalar_tensor", One(tensor)),
    ("aten::tensor", One(tensor)),
    ("aten::as_tensor", One(tensor)),
    ("prim::NumToTensor", One(tensor)),
    ("aten::item", One(item)),
    ("aten::Int", One(int)),
    ("aten::IntImplicit", One(int)),
    ("aten::Float", One(float)),
    ("aten::FloatImplicit", One(float)),
    ("aten::Bool", One(bool)),
    ("aten::ScalarImplicit", One(item)),
    ("aten::is_nonzero", One(bool)),
    ("aten::to", One(to)),
    ("aten::type_as", One(to)),
    ("aten::result_type", One(result_type)),
    ("aten::promote_types", One(promote_types)),
    ("aten::is_floating_point", One(is_floating_point)),
    ("prim::dtype", One(dtype)),
    ("prim::device", One(device)),
    ("prim::type", One(device_type)),
    ("prim::layout", One(layout)),
    ("prim::is_quantized", One(is_quantized)),
    ("prim::is_cuda", One(no)),
    ("aten::is_grad_enabled", One(no)),
    ("aten::set_grad_enabled", Many(nothing)),
    ("prim::requires_grad", One(no)),
    ("aten::device", One(device_named)),
    ("aten::is_scripting", One(yes)),
    ("aten::_is_tracing", One(no)),
    ("aten::_get_tracing_state", One(no)),
    ("aten::has_torch_function", One(no)),
    ("aten::one_hot", One(one_hot)),
    ("aten::tril", One(triangle)),
    ("aten::triu", One(triangle)),
];

fn zeros(call: &Call<'_>) -> Result<Value> {
    filled(call, &call.ints(0)?, 1, 0.0, DType::Float)
}

fn ones(call: &Call<'_>) -> Result<Value> {
    filled(call, &call.ints(0)?, 1, 1.0, DType::Float)
}

/// `full(size, value, dtype, …)`
fn full(call: &Call<'_>) -> Result<Value> {
    let value = call.scalar(1)?;
    filled(call, &call.ints(0)?, 2, value.to_f64(), number_type(value))
}

/// A tensor of `shape` filled with `value`; the element type is argument `dtype`, else the default one.
fn filled(
    call: &Call<'_>,
    shape: &[i64],
    dtype: usize,
    value: f64,
    default: DType,
) -> Result<Value> {
    let dtype = call.dtype_opt(dtype)?.unwrap_or(default);
    let out = Tensor::zeros(dtype, shape, MemoryFormat::Contiguous)?;
    fill(&out, value)?;
    Ok(out.into())
}

/// Writes `value` to each element: to those of a quantized tensor as the nearest code.
pub(super) fn fill(out: &Tensor, value: f64) -> Result<()> {
    let count = out.numel();
    if out.dtype().is_quantized() {
        let code = super::quant::quantize_one(out, value as f32)?;
        return out.write_codes(&vec![code; count]);
    }
    // Fresh memory is zero already.
    if value.to_bits() != 0 || out.strides().contains(&0) {
        out.write_f64(&vec![value; count])?;
    }
    Ok(())
}

fn zeros_like(call: &Call<'_>) -> Result<Value> {
    filled_like(call, 1, 0.0)
}

fn ones_like(call: &Call<'_>) -> Result<Value> {
    filled_like(call, 1, 1.0)
}

fn full_like(call: &Call<'_>) -> Result<Value> {
    filled_like(call, 2, call.float(1)?)
}

/// Arguments from `first`: dtype, layout, device, `pin_memory`, `memory_format`.
fn filled_like(call: &Call<'_>, first: usize, value: f64) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dtype = call.dtype_opt(first)?.unwrap_or(tensor.dtype());
    let format = call.int_opt(first + 4)?.and_then(MemoryFormat::from_code);
    let out = match format {
        Some(format) => Tensor::zeros(dtype, tensor.shape(), format)?,
        None => like(tensor, dtype)?,
    };
    let out = match tensor.qparams() {
        Some(qparams) if dtype.is_quantized() => out.with_qparams(qparams)?,
        _ => out,
    };
    fill(&out, value)?;
    Ok(out.into())
}

fn new_zeros(call: &Call<'_>) -> Result<Value> {
    filled(call, &call.ints(1)?, 2, 0.0, call.tensor(0)?.dtype())
}

fn new_ones(call: &Call<'_>) -> Result<Value> {
    filled(call, &call.ints(1)?, 2, 1.0, call.tensor(0)?.dtype())
}

fn new_full(call: &Call<'_>) -> Result<Value> {
    filled(
        call,
        &call.ints(1)?,
        3,
        call.float(2)?,
        call.tensor(0)?.dtype(),
    )
}

fn fill_in_place(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let value = match call.get(1) {
        Value::None => 0.0,
        Value::Tensor(value) => value.to_f64()?.first().copied().unwrap_or(0.0),
        _ => call.float(1)?,
    };
    if tensor.dtype().is_quantized() {
        fill(tensor, value)?;
    } else {
        tensor.write_f64(&vec![value; tensor.numel()])?;
    }
    Ok(tensor.clone().into())
}

/// `arange(end, …)`, `arange(start, end, …)` or `arange(start, end, step, …)`, each followed by four options.
fn arange(call: &Call<'_>) -> Result<Value> {
    let numbers = match call.args.len() {
        5.. => call.args.len() - 4,
        count => count,
    };
    let (start, end, step) = match numbers {
        1 => (Scalar::Int(0), call.scalar(0)?, Scalar::Int(1)),
        2 => (call.scalar(0)?, call.scalar(1)?, Scalar::Int(1)),
        _ => (call.scalar(0)?, call.scalar(1)?, call.scalar(2)?),
    };
    let whole = [start, end, step]
        .iter()
        .all(|n| matches!(n, Scalar::Int(_)));
    let default = if whole { DType::Long } else { DType::Float };
    let dtype = call.dtype_opt(numbers)?.unwrap_or(default);
    let (first, last, by) = (start.to_f64(), end.to_f64(), step.to_f64());
    let count = ((last - first) / by).ceil();
    if by == 0.0 || count.is_nan() || count < 0.0 {
        return Err(call.wrong(0, "a range that its step walks to the end"));
    }
    crate::limits::room(count as usize, 8)?;
    let out = Tensor::zeros(dtype, &[count as i64], MemoryFormat::Contiguous)?;
    let steps = 0..count as i64;
    if whole {
        let (first, by) = (start.to_i64(), step.to_i64());
        out.write_i64(
            &steps
                .map(|i| first.wrapping_add(i.wrapping_mul(by)))
                .collect::<Vec<_>>(),
        )?;
    } else {
        out.write_f64(&steps.map(|i| first + i as f64 * by).collect::<Vec<_>>())?;
    }
    Ok(out.into())
}

fn linspace(call: &Call<'_>) -> Result<Value> {
    let (start, end, count) = (call.float(0)?, call.float(1)?, call.int(2)?);
    let dtype = call.dtype_opt(3)?.unwrap_or(DType::Float);
    spaced(start, end, count, dtype, |at| at)
}

/// `logspace(start, end, steps, base, dtype, …)`: powers of the base with evenly spaced exponents.
fn logspace(call: &Call<'_>) -> Result<Value> {
    let (start, end, count) = (call.float(0)?, call.float(1)?, call.int(2)?);
    let base = call.float(3)?;
    let dtype = call.dtype_opt(4)?.unwrap_or(DType::Float);
    spaced(start, end, count, dtype, |at| base.powf(at))
}

fn spaced(
    start: f64,
    end: f64,
    count: i64,
    dtype: DType,
    of: impl Fn(f64) -> f64,
) -> Result<Value> {
    let out = Tensor::zeros(dtype, &[count], MemoryFormat::Contiguous)?;
    let step = (end - start) / (count - 1).max(1) as f64;
    // From both ends, so that the last value is the end itself.
    let value = |i: i64| {
        if i < count / 2 {
            start + step * i as f64
        } else {
            end - step * (count - 1 - i) as f64
        }
    };
    let value = |i: i64| of(if count == 1 { start } else { value(i) });
    out.write_f64(&(0..count).map(value).collect::<Vec<_>>())?;
    Ok(out.into())
}

/// `tensor(data, dtype, …)`: of a number, nested lists of numbers, or another tensor.
fn tensor(call: &Call<'_>) -> Result<Value> {
    let wanted = call.dtype_opt(1)?;
    if let Value::Tensor(tensor) = call.get(0) {
        return converted(tensor, wanted.unwrap_or(tensor.dtype()), false, None).map(Value::from);
    }
    let mut shape = Dims::new();
    let mut numbers = Vec::new();
    flatten(call.get(0), 0, &mut shape, &mut numbers)
        .ok_or_else(|| call.wrong(0, "a number or nested lists of numbers of equal lengths"))?;
    // A scalar tensor is a float unless something else is asked for.
    let default = match call.short_name() {
        "scalar_tensor" => DType::Float,
        _ => numbers
            .iter()
            .map(|n| number_type(*n))
            .reduce(promote)
            .unwrap_or(DType::Float),
    };
    let dtype = wanted.unwrap_or(default);
    let out = Tensor::zeros(dtype, &shape, MemoryFormat::Contiguous)?;
    if numbers.iter().any(|n| matches!(n, Scalar::Float(_))) {
        out.write_f64(&numbers.iter().map(|n| n.to_f64()).collect::<Vec<_>>())?;
    } else {
        out.write_i64(&numbers.iter().map(|n| n.to_i64()).collect::<Vec<_>>())?;
    }
    Ok(out.into())
}

/// Appends the numbers of nested lists and finds their shape; `None` when the lists are ragged or hold something else.
fn flatten(value: &Value, depth: usize, shape: &mut Dims, out: &mut Vec<Scalar>) -> Option<()> {
    if depth > 16 {
        return None;
    }
    if let Value::List(list) = value {
        let items = list.to_vec();
        if shape.len() == depth {
            shape.push(items.len() as i64);
        }
        if shape[depth] != items.len() as i64 {
            return None;
        }
        return items
            .iter()
            .try_for_each(|item| flatten(item, depth + 1, shape, out));
    }
    let number = match value {
        Value::Tensor(tensor) => Scalar::of(&item_of(tensor).ok()?)?,
        _ => Scalar::of(value)?,
    };
    out.push(number);
    (depth == shape.len()).then_some(())
}

fn item(call: &Call<'_>) -> Result<Value> {
    item_of(call.tensor(0)?)
}

/// The only element of a tensor as a number.
pub(super) fn item_of(tensor: &Tensor) -> Result<Value> {
    if tensor.numel() != 1 {
        return Err(Error::Invalid(format!(
            "{tensor:?} has no single element that could be a number"
        )));
    }
    if tensor.dtype().is_quantized() {
        let value = super::quant::dequantized(tensor)?.to_f64()?[0];
        return Ok(Value::Float(value));
    }
    Ok(match tensor.dtype() {
        DType::Bool => Value::Bool(tensor.to_i64()?[0] != 0),
        dtype if dtype.is_floating_point() => Value::Float(tensor.to_f64()?[0]),
        _ => Value::Int(tensor.to_i64()?[0]),
    })
}

fn number(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Tensor(tensor) => item_of(tensor),
        value => Ok(value.clone()),
    }
}

fn int(call: &Call<'_>) -> Result<Value> {
    match number(call)? {
        Value::Str(text) => text
            .trim()
            .parse()
            .map(Value::Int)
            .map_err(|_| call.wrong(0, "an int")),
        value => match Scalar::of(&value) {
            Some(number) => Ok(Value::Int(number.to_i64())),
            None => Err(call.wrong(0, "a number")),
        },
    }
}

fn float(call: &Call<'_>) -> Result<Value> {
    match number(call)? {
        Value::Str(text) => text
            .trim()
            .parse()
            .map(Value::Float)
            .map_err(|_| call.wrong(0, "a float")),
        value => match Scalar::of(&value) {
            Some(number) => Ok(Value::Float(number.to_f64())),
            None => Err(call.wrong(0, "a number")),
        },
    }
}

fn bool(call: &Call<'_>) -> Result<Value> {
    match Scalar::of(&number(call)?) {
        Some(number) => Ok((number.to_f64() != 0.0).into()),
        None => Err(call.wrong(0, "a number")),
    }
}

/// All overloads of `to`; planish has one device, so only the element type, the copy flag and the memory format matter.
fn to(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let (dtype, copy, format) = match (call.get(1), call.args.len()) {
        (Value::Tensor(other), _) => (Some(other.dtype()), 3, 4),
        (_, 8) => (call.dtype_opt(1)?, 6, 7),
        (Value::Device(_), _) => (call.dtype_opt(2)?, 4, 5),
        (Value::None, _) if call.op.info().overload == *"prim_Device" => (call.dtype_opt(2)?, 4, 5),
        (Value::Bool(_), _) => (None, 2, 9),
        _ => (call.dtype_opt(1)?, 3, 4),
    };
    let format = call.int_opt(format)?.and_then(MemoryFormat::from_code);
    let dtype = dtype.unwrap_or(tensor.dtype());
    Ok(converted(tensor, dtype, call.bool_or(copy, false)?, format)?.into())
}

fn converted(
    tensor: &Tensor,
    dtype: DType,
    copy: bool,
    format: Option<MemoryFormat>,
) -> Result<Tensor> {
    if tensor.dtype() == dtype {
        let fits = format.is_none_or(|format| tensor.is_dense(format));
        return if copy || !fits {
            tensor.copied(format)
        } else {
            Ok(tensor.clone())
        };
    }
    let strides = match format {
        Some(format) => format.strides(tensor.shape()),
        None => preserved_strides(tensor.shape(), tensor.strides()),
    };
    let out = Tensor::zeros_strided(dtype, tensor.shape(), &strides)?;
    if dtype == DType::Bool {
        map_into(tensor, &out, |x| f64::from(u8::from(x != 0.0)))?;
    } else {
        convert_into(tensor, &out)?;
    }
    Ok(out)
}

fn result_type(call: &Call<'_>) -> Result<Value> {
    let operand = |index| -> Result<Operand> {
        match call.get(index) {
            Value::Tensor(tensor) => Ok(Operand::from(tensor)),
            _ => Ok(call.scalar(index)?.into()),
        }
    };
    Ok(Value::Int(common_type(&[operand(0)?, operand(1)?]).code()))
}

fn promote_types(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(promote(call.dtype(0)?, call.dtype(1)?).code()))
}

fn is_floating_point(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.dtype().is_floating_point().into())
}

fn dtype(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(call.tensor(0)?.dtype().code()))
}

fn device(_: &Call<'_>) -> Result<Value> {
    Ok(Value::Device("cpu".into()))
}

/// The kind of a device: its name without a number.
fn device_type(call: &Call<'_>) -> Result<Value> {
    match call.get(0) {
        Value::Device(device) => {
            let name = device.as_str().split(':').next().unwrap_or_default();
            Ok(Value::str(name))
        }
        _ => Err(call.wrong(0, "a device")),
    }
}

fn device_named(call: &Call<'_>) -> Result<Value> {
    Ok(Value::Device(call.str(0)?.into()))
}

/// Strided, the only layout there is here.
fn layout(_: &Call<'_>) -> Result<Value> {
    Ok(Value::Int(0))
}

fn is_quantized(call: &Call<'_>) -> Result<Value> {
    Ok(call.tensor(0)?.dtype().is_quantized().into())
}

fn yes(_: &Call<'_>) -> Result<Value> {
    Ok(true.into())
}

/// Nothing here records gradients, whether it is to or not.
fn nothing(_: &Call<'_>) -> Result<Vec<Value>> {
    Ok(Vec::new())
}

fn no(_: &Call<'_>) -> Result<Value> {
    Ok(false.into())
}

fn one_hot(call: &Call<'_>) -> Result<Value> {
    let indices = call.tensor(0)?;
    let positions = indices.to_i64()?;
    let given = call.int_or(1, -1)?;
    let most = positions.iter().max().copied().unwrap_or(-1);
    let classes = if given < 0 {
        most.saturating_add(1)
    } else {
        given
    };
    if most >= classes || positions.iter().any(|at| !(0..i64::MAX).contains(at)) {
        return Err(call.wrong(1, "more classes than the largest index"));
    }
    let mut shape = Dims::from(indices.shape());
    shape.push(classes);
    let out = Tensor::zeros(DType::Long, &shape, MemoryFormat::Contiguous)?;
    let mut values = vec![0i64; out.numel()];
    for (row, at) in values
        .chunks_exact_mut(classes.max(1) as usize)
        .zip(&positions)
    {
        row[*at as usize] = 1;
    }
    out.write_elements(&values)?;
    Ok(out.into())
}

/// `tril(matrix, diagonal)` and `triu`: zeros above or below a diagonal.
fn triangle(call: &Call<'_>) -> Result<Value> {
    let (tensor, diagonal) = (call.tensor(0)?, call.int_or(1, 0)?);
    let [.., rows, columns] = tensor.shape() else {
        return Err(call.wrong(0, "matrices"));
    };
    let (rows, columns) = (*rows as usize, *columns as usize);
    let lower = call.short_name() == "tril";
    let out = Tensor::zeros(tensor.dtype(), tensor.shape(), MemoryFormat::Contiguous)?;
    let mut values = tensor.to_f64()?;
    for (at, value) in values.iter_mut().enumerate() {
        let (row, column) = (at / columns % rows, at % columns);
        let above = column as i64 - row as i64;
        if (lower && above > diagonal) || (!lower && above < diagonal) {
            *value = 0.0;
        }
    }
    out.write_f64(&values)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::{Op, Type};

    fn run(op: &str, inputs: &[Value]) -> Value {
        apply(Op::of(op), inputs, Contract::Fbgemm)
            .unwrap()
            .remove(0)
    }

    #[test]
    fn nested_lists_become_tensors() {
        let rows = [Value::ints(&[1, 2]), Value::ints(&[3, 4])];
        let data = Value::list(Type::list(Type::Int), rows);
        let out = run("aten::tensor", &[data, Value::None]);
        let out = out.as_tensor().unwrap();
        assert_eq!((out.dtype(), out.shape()), (DType::Long, &[2, 2][..]));
        let ragged = Value::list(Type::Any, [Value::ints(&[1]), Value::ints(&[1, 2])]);
        assert!(apply(Op::of("aten::tensor"), &[ragged], Contract::Fbgemm).is_err());
    }

    #[test]
    fn conversion_cuts_fractions_and_ranges_count() {
        let x = Tensor::from_values(&[3], &[1.7f32, -1.7, 0.0]).unwrap();
        let to = |dtype: DType| {
            let inputs = [
                x.clone().into(),
                Value::Int(dtype.code()),
                false.into(),
                false.into(),
            ];
            run("aten::to.dtype", &inputs)
                .as_tensor()
                .unwrap()
                .to_i64()
                .unwrap()
        };
        assert_eq!(to(DType::Long), [1, -1, 0]);
        assert_eq!(to(DType::Bool), [1, 1, 0]);
        let range = run(
            "aten::arange",
            &[Value::Float(1.0), Value::Float(2.0), Value::Float(0.25)],
        );
        assert_eq!(
            range.as_tensor().unwrap().to_f32().unwrap(),
            [1., 1.25, 1.5, 1.75]
        );
    }
}
