//! Operators that PyTorch itself puts together from others. Each is the same calls in the same order, and so rounds as PyTorch does.

use planish_ir::DType;

use super::shape::tensor_list;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, MemoryFormat, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::atleast_1d", One(atleast)),
    ("aten::atleast_2d", One(atleast)),
    ("aten::atleast_3d", One(atleast)),
    ("aten::fliplr", One(flipped)),
    ("aten::flipud", One(flipped)),
    ("aten::rot90", One(rotated)),
    ("aten::hsplit", One(split)),
    ("aten::vsplit", One(split)),
    ("aten::dsplit", One(split)),
    ("aten::column_stack", One(column_stack)),
    ("aten::dstack", One(depth_stack)),
    ("aten::meshgrid", One(meshgrid)),
    ("aten::cartesian_prod", One(cartesian)),
    ("aten::take_along_dim", One(take_along)),
    ("aten::outer", One(outer)),
    ("aten::kron", One(kronecker)),
    ("aten::tensordot", One(tensordot)),
    ("aten::inner", One(inner)),
    ("aten::addmv", One(addmv)),
    ("aten::cross", One(cross)),
    ("aten::diff", One(differences)),
    ("aten::addr", One(addr)),
    ("aten::sinc", One(sinc)),
    ("aten::equal", One(equal)),
    ("aten::isclose", One(close)),
    ("aten::allclose", One(all_close)),
];

/// What another operator makes of the arguments: a tensor.
pub(super) fn made(call: &Call<'_>, op: &str, args: &[Value]) -> Result<Tensor> {
    match call.other(op, args)? {
        Value::Tensor(tensor) => Ok(tensor),
        other => Err(Error::Invalid(format!(
            "{op} gives {} where a tensor is needed",
            other.kind()
        ))),
    }
}

fn list(tensors: Vec<Tensor>) -> Value {
    tensor_list(tensors.into_iter().map(Value::Tensor).collect())
}

/// `atleast_1d(tensor)`, `atleast_2d` and `atleast_3d`, or of each tensor of a list.
fn atleast(call: &Call<'_>) -> Result<Value> {
    let wanted = usize::from(call.short_name().as_bytes()[8] - b'0');
    if let Value::Tensor(tensor) = call.get(0) {
        return Ok(ranked(tensor, wanted)?.into());
    }
    let tensors = call.tensors(0)?.into_iter();
    let tensors = tensors.map(|tensor| ranked(&tensor, wanted));
    Ok(list(tensors.collect::<Result<_>>()?))
}

/// The tensor with as many dimensions: a row of a matrix, a matrix in front of a volume.
fn ranked(tensor: &Tensor, wanted: usize) -> Result<Tensor> {
    let mut tensor = tensor.clone();
    while tensor.rank() < wanted {
        tensor = tensor.unsqueeze(if tensor.rank() == 2 { 2 } else { 0 })?;
    }
    Ok(tensor)
}

fn flipped(call: &Call<'_>) -> Result<Value> {
    let dim = i64::from(call.short_name() == "fliplr");
    call.other("aten::flip", &[call.get(0).clone(), Value::ints(&[dim])])
}

/// `rot90(tensor, k, dims)`
fn rotated(call: &Call<'_>) -> Result<Value> {
    let tensor = call.tensor(0)?;
    let dims = call.ints_opt(2)?.unwrap_or_else(|| vec![0, 1]);
    let [a, b] = dims[..] else {
        return Err(call.wrong(2, "two dimensions"));
    };
    let (from, to) = (tensor.dim_index(a)?, tensor.dim_index(b)?);
    if from == to || tensor.rank() < 2 {
        return Err(call.wrong(2, "two different dimensions"));
    }
    let flip = |tensor: &Tensor, dims: &[i64]| {
        made(
            call,
            "aten::flip",
            &[tensor.clone().into(), Value::ints(dims)],
        )
    };
    let turned = match call.int_or(1, 1)?.rem_euclid(4) {
        0 => tensor.copied(None)?,
        1 => flip(tensor, &[b])?.transpose(from, to)?,
        2 => flip(tensor, &[a, b])?,
        _ => flip(tensor, &[a])?.transpose(from, to)?,
    };
    Ok(turned.into())
}

/// `hsplit(tensor, sections)` or `hsplit(tensor, indices)`, and the same along the first and third dimension.
fn split(call: &Call<'_>) -> Result<Value> {
    let rank = call.tensor(0)?.rank();
    let dim = match call.short_name() {
        "vsplit" => 0,
        "dsplit" => 2,
        _ => usize::from(rank > 1),
    };
    let size = call.tensor(0)?.shape().get(dim);
    let size = *size.ok_or_else(|| call.wrong(0, "a tensor with enough dimensions"))?;
    if let Value::Int(sections) = call.get(1)
        && (*sections < 1 || size % sections != 0)
    {
        return Err(call.wrong(1, "a number of equal pieces"));
    }
    let args = [
        call.get(0).clone(),
        call.get(1).clone(),
        Value::Int(dim as i64),
    ];
    call.other("aten::tensor_split", &args)
}

fn column_stack(call: &Call<'_>) -> Result<Value> {
    let columns = call
        .tensors(0)?
        .into_iter()
        .map(|tensor| match tensor.rank() {
            0 | 1 => tensor.reshape(&[tensor.numel() as i64, 1]),
            _ => Ok(tensor),
        });
    call.other("aten::hstack", &[list(columns.collect::<Result<_>>()?)])
}

fn depth_stack(call: &Call<'_>) -> Result<Value> {
    let layers = call
        .tensors(0)?
        .into_iter()
        .map(|tensor| ranked(&tensor, 3));
    let layers = list(layers.collect::<Result<_>>()?);
    call.other("aten::cat", &[layers, Value::Int(2)])
}

/// `meshgrid(tensors, indexing)`
fn meshgrid(call: &Call<'_>) -> Result<Value> {
    let swapped = match call.get(1) {
        Value::None => false,
        _ => match call.str(1)? {
            "ij" => false,
            "xy" => true,
            _ => return Err(call.wrong(1, "the indexing ij or xy")),
        },
    };
    let grids = grids(call, swapped)?;
    Ok(list(grids))
}

fn grids(call: &Call<'_>, swapped: bool) -> Result<Vec<Tensor>> {
    let mut axes = call.tensors(0)?;
    let swapped = swapped && axes.len() > 1;
    if axes.iter().any(|axis| axis.rank() > 1) {
        return Err(call.wrong(0, "vectors"));
    }
    if swapped {
        axes.swap(0, 1);
    }
    let shape: Vec<i64> = axes.iter().map(|axis| axis.numel() as i64).collect();
    let grids = axes.iter().enumerate().map(|(at, axis)| {
        let mut own = vec![1; shape.len()];
        own[at] = shape[at];
        let grid = axis.reshape(&own)?.expand(&shape)?;
        if swapped {
            grid.transpose(0, 1)
        } else {
            Ok(grid)
        }
    });
    let mut grids: Vec<Tensor> = grids.collect::<Result<_>>()?;
    if swapped {
        grids.swap(0, 1);
    }
    Ok(grids)
}

fn cartesian(call: &Call<'_>) -> Result<Value> {
    let vectors = call.tensors(0)?;
    if let [only] = &vectors[..] {
        return Ok(only.clone().into());
    }
    let columns = grids(call, false)?
        .into_iter()
        .map(|grid| grid.reshape(&[-1]));
    let columns = list(columns.collect::<Result<_>>()?);
    call.other("aten::stack", &[columns, Value::Int(1)])
}

/// `take_along_dim(tensor, indices, dim)`; all elements in a row without a dimension.
fn take_along(call: &Call<'_>) -> Result<Value> {
    let (tensor, indices) = (call.tensor(0)?, call.tensor(1)?);
    let (tensor, indices, dim) = if call.is_none(2) {
        (tensor.reshape(&[-1])?, indices.reshape(&[-1])?, 0)
    } else {
        let dim = call.sized_dim(2, tensor)?.0;
        if tensor.rank() != indices.rank() {
            return Err(call.wrong(1, "indices with as many dimensions as the tensor"));
        }
        // All dimensions but the one that is picked from are brought to one size.
        let (mut from, mut at) = (tensor.shape().to_vec(), indices.shape().to_vec());
        for other in (0..tensor.rank()).filter(|other| *other != dim) {
            let size = if from[other] == 1 {
                at[other]
            } else {
                from[other]
            };
            (from[other], at[other]) = (size, size);
        }
        (tensor.expand(&from)?, indices.expand(&at)?, dim as i64)
    };
    let args = [tensor.into(), Value::Int(dim), indices.into()];
    call.other("aten::gather", &args)
}

/// `outer(a, b)`: each element of one vector with each of the other.
fn outer(call: &Call<'_>) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    if a.rank() != 1 || b.rank() != 1 {
        return Err(call.wrong(0, "vectors"));
    }
    call.other(
        "aten::mul.Tensor",
        &[a.unsqueeze(1)?.into(), b.clone().into()],
    )
}

/// `kron(a, b)`: each element of one tensor with all of the other, side by side.
fn kronecker(call: &Call<'_>) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let rank = a.rank().max(b.rank());
    let sizes = |tensor: &Tensor| [&vec![1; rank - tensor.rank()][..], tensor.shape()].concat();
    let (high, low) = (sizes(a), sizes(b));
    let one = |first: &[i64], second: &[i64]| -> Vec<i64> {
        first
            .iter()
            .zip(second)
            .flat_map(|(x, y)| [*x, *y])
            .collect()
    };
    let ones = vec![1; rank];
    let (a, b) = (
        a.reshape(&one(&high, &ones))?,
        b.reshape(&one(&ones, &low))?,
    );
    let product = made(call, "aten::mul.Tensor", &[a.into(), b.into()])?;
    let shape: Vec<i64> = high
        .iter()
        .zip(&low)
        .map(|(x, y)| x.saturating_mul(*y))
        .collect();
    Ok(product.reshape(&shape)?.into())
}

/// `tensordot(a, b, dims_of_a, dims_of_b)`
fn tensordot(call: &Call<'_>) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let (of_a, of_b) = (
        super::shape::dims(call, 2, a)?,
        super::shape::dims(call, 3, b)?,
    );
    contracted(call, &of_a, &of_b)
}

/// `inner(a, b)`: products of rows, or of each element with a number.
fn inner(call: &Call<'_>) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    if a.rank() == 0 || b.rank() == 0 {
        return call.other("aten::mul.Tensor", &[a.clone().into(), b.clone().into()]);
    }
    contracted(call, &[a.rank() - 1], &[b.rank() - 1])
}

/// The product of two tensors as matrices, added up over the dimensions `of_a` and `of_b`.
fn contracted(call: &Call<'_>, of_a: &[usize], of_b: &[usize]) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    let sizes = |tensor: &Tensor, dims: &[usize]| -> Option<Vec<i64>> {
        dims.iter()
            .map(|dim| tensor.shape().get(*dim).copied())
            .collect()
    };
    let common = sizes(a, of_a).filter(|sizes_of_a| Some(sizes_of_a) == sizes(b, of_b).as_ref());
    let common = common.ok_or_else(|| call.wrong(2, "dimensions of equal sizes"))?;
    let count: i64 = common.iter().product();
    let rest = |tensor: &Tensor, dims: &[usize]| -> Vec<usize> {
        (0..tensor.rank())
            .filter(|dim| !dims.contains(dim))
            .collect()
    };
    let (rest_a, rest_b) = (rest(a, of_a), rest(b, of_b));
    let shape: Option<Vec<i64>> = sizes(a, &rest_a)
        .zip(sizes(b, &rest_b))
        .map(|(a, b)| [a, b].concat());
    let shape = shape.ok_or_else(|| call.wrong(2, "dimensions of the tensors"))?;
    let outputs = |tensor: &Tensor, rest: &[usize]| -> i64 {
        rest.iter().map(|dim| tensor.shape()[*dim]).product()
    };
    let (high, wide) = (outputs(a, &rest_a), outputs(b, &rest_b));
    let left = a
        .permute(&[&rest_a[..], of_a].concat())?
        .reshape(&[high, count])?;
    let right = b
        .permute(&[of_b, &rest_b[..]].concat())?
        .reshape(&[count, wide])?;
    let product = made(call, "aten::mm", &[left.into(), right.into()])?;
    Ok(product.reshape(&shape)?.into())
}

/// `addmv(vector, matrix, vector, beta, alpha)`
fn addmv(call: &Call<'_>) -> Result<Value> {
    let (bias, vector) = (call.tensor(0)?, call.tensor(2)?);
    if vector.rank() != 1 {
        return Err(call.wrong(2, "a vector"));
    }
    let column = |tensor: &Tensor| -> Result<Value> { Ok(tensor.unsqueeze(tensor.rank())?.into()) };
    let bias = bias.expand(&[call.tensor(1)?.shape().first().copied().unwrap_or(0)])?;
    let args = [
        column(&bias)?,
        call.get(1).clone(),
        column(vector)?,
        call.get(3).clone(),
        call.get(4).clone(),
    ];
    let sum = made(call, "aten::addmm", &args)?;
    Ok(sum.squeeze(|dim| dim == 1)?.into())
}

/// `cross(a, b, dim)`: vectors at right angles to both; the first dimension of size 3 without `dim`.
fn cross(call: &Call<'_>) -> Result<Value> {
    let (_, _, pair) = super::elementwise::broadcast(&[call.tensor(0)?, call.tensor(1)?])?;
    let [a, b] = &pair[..] else {
        return Err(call.wrong(1, "a tensor"));
    };
    let dim = match call.get(2) {
        Value::None => a.shape().iter().position(|size| *size == 3),
        _ => Some(call.dim(2, a)?),
    };
    let dim = dim.filter(|dim| a.shape().get(*dim) == Some(&3));
    let dim = dim.ok_or_else(|| call.wrong(2, "a dimension of size 3"))?;
    let [p, q] = [a, b].map(|tensor| {
        let parts = (0..3).map(|at| tensor.select(dim, at)?.to_f64());
        parts.collect::<Result<Vec<Vec<f64>>>>()
    });
    let (p, q) = (p?, q?);
    let out = Tensor::zeros(a.dtype(), a.shape(), MemoryFormat::Contiguous)?;
    let single = a.dtype() == DType::Float;
    for (at, (x, y)) in [(1, 2), (2, 0), (0, 1)].into_iter().enumerate() {
        let pairs = p[x].iter().zip(&q[y]).zip(p[y].iter().zip(&q[x]));
        // The second product is rounded, the first is not.
        let turned = pairs.map(|((a, b), (c, d))| {
            if single {
                f64::from((*a as f32).mul_add(*b as f32, -((c * d) as f32)))
            } else {
                a.mul_add(*b, -(c * d))
            }
        });
        let part = out.select(dim, at as i64)?;
        part.write_f64(&turned.collect::<Vec<_>>())?;
    }
    Ok(out.into())
}

/// `diff(tensor, n, dim, prepend, append)`
fn differences(call: &Call<'_>) -> Result<Value> {
    let (tensor, times) = (call.tensor(0)?, call.int_or(1, 1)?);
    let (dim, _) = match call.get(2) {
        Value::None => (tensor.rank().wrapping_sub(1), 0),
        _ => call.sized_dim(2, tensor)?,
    };
    if tensor.rank() == 0 || times < 0 {
        return Err(call.wrong(1, "a number of times, for a tensor with dimensions"));
    }
    let around = [call.tensor_opt(3)?, Some(tensor), call.tensor_opt(4)?];
    let parts: Vec<Tensor> = around.into_iter().flatten().cloned().collect();
    let mut out = match &parts[..] {
        [_] => tensor.clone(),
        _ => made(call, "aten::cat", &[list(parts), Value::Int(dim as i64)])?,
    };
    let op = match tensor.dtype() {
        DType::Bool => "aten::logical_xor",
        _ => "aten::sub.Tensor",
    };
    for _ in 0..times.min(out.shape()[dim]) {
        let (later, sooner) = super::trapezoid::steps(&out, dim)?;
        let mut args = vec![later.into(), sooner.into()];
        args.extend((op == "aten::sub.Tensor").then_some(Value::Int(1)));
        out = made(call, op, &args)?;
    }
    Ok(out.into())
}

/// `addr(matrix, vector, vector, beta, alpha)`
fn addr(call: &Call<'_>) -> Result<Value> {
    let scaled = |tensor: Value, index: usize| match call.scalar_opt(index)? {
        None | Some(crate::call::Scalar::Int(1)) => Ok(tensor),
        Some(by) => call.other("aten::mul.Scalar", &[tensor, by.into()]),
    };
    let product = scaled(
        call.other("aten::outer", &[call.get(1).clone(), call.get(2).clone()])?,
        4,
    )?;
    call.other(
        "aten::add.Tensor",
        &[scaled(call.get(0).clone(), 3)?, product, Value::Int(1)],
    )
}

/// The sine of pi times a number, divided by it; one at zero.
fn sinc(call: &Call<'_>) -> Result<Value> {
    let turned = made(
        call,
        "aten::mul.Scalar",
        &[call.get(0).clone(), Value::Float(std::f64::consts::PI)],
    )?;
    let sine = call.other("aten::sin", &[turned.clone().into()])?;
    let divided = made(call, "aten::div.Tensor", &[sine, turned.clone().into()])?;
    let zeros = turned.to_f64()?.into_iter().zip(divided.to_f64()?);
    divided.write_f64(
        &zeros
            .map(|(x, y)| if x == 0.0 { 1.0 } else { y })
            .collect::<Vec<_>>(),
    )?;
    Ok(divided.into())
}

/// Whether shapes and elements are equal.
fn equal(call: &Call<'_>) -> Result<Value> {
    let (a, b) = (call.tensor(0)?, call.tensor(1)?);
    if a.shape() != b.shape() {
        return Ok(false.into());
    }
    let same = call.other("aten::eq.Tensor", &[a.clone().into(), b.clone().into()])?;
    all(call, same)
}

/// Whether all elements of a tensor of truths are true.
fn all(call: &Call<'_>, truths: Value) -> Result<Value> {
    let all = made(call, "aten::all", &[truths])?;
    Ok(all.to_i64()?.iter().all(|truth| *truth != 0).into())
}

/// `isclose(a, b, rtol, atol, equal_nan)`
fn close(call: &Call<'_>) -> Result<Value> {
    let (rtol, atol) = (call.float_or(2, 1e-5)?, call.float_or(3, 1e-8)?);
    let nan = call.bool_or(4, false)?;
    let near = |a: f64, b: f64| {
        a == b
            || (nan && a.is_nan() && b.is_nan())
            || (b.is_finite() && (a - b).abs() <= atol + (rtol * b).abs())
    };
    let pair = super::arith::operands(call)?;
    Ok(pair.compare(|a, b| near(a as f64, b as f64), near)?.into())
}

fn all_close(call: &Call<'_>) -> Result<Value> {
    let truths = close(call)?;
    all(call, truths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn pair(a: Tensor, b: Tensor) -> Value {
        list(vec![a, b])
    }

    #[test]
    fn elements_move_as_in_pytorch() {
        let x = counting(&[2, 3]);
        let turned = run(
            "aten::rot90",
            &[x.clone().into(), Value::Int(1), Value::ints(&[0, 1])],
        );
        assert_eq!(turned.shape(), [3, 2]);
        assert_eq!(turned.to_f32().unwrap(), [2., 5., 1., 4., 0., 3.]);
        let columns = run("aten::column_stack", &[pair(counting(&[2]), x.clone())]);
        assert_eq!(columns.to_f32().unwrap(), [0., 0., 1., 2., 1., 3., 4., 5.]);
        let deep = run("aten::dstack", &[pair(counting(&[2]), counting(&[2]))]);
        assert_eq!(
            (deep.shape(), deep.to_f32().unwrap()),
            (&[1, 2, 2][..], vec![0., 0., 1., 1.])
        );
        let all = run(
            "aten::cartesian_prod",
            &[pair(counting(&[2]), counting(&[2]))],
        );
        assert_eq!(all.to_f32().unwrap(), [0., 0., 0., 1., 1., 0., 1., 1.]);
        let steps = run("aten::diff", &[x.into(), Value::Int(2), Value::Int(1)]);
        assert_eq!(
            (steps.shape(), steps.to_f32().unwrap()),
            (&[2, 1][..], vec![0., 0.])
        );
    }

    #[test]
    fn products_of_vectors_and_over_dimensions() {
        let (a, b) = (counting(&[2, 3]), counting(&[3, 2]));
        let args = [
            a.clone().into(),
            b.into(),
            Value::ints(&[1, 0]),
            Value::ints(&[0, 1]),
        ];
        // 0*0 + 1*2 + 2*4 + 3*1 + 4*3 + 5*5
        assert_eq!(run("aten::tensordot", &args).to_f32().unwrap(), [50.]);
        let inner = run("aten::inner", &[a.clone().into(), a.into()]);
        assert_eq!(inner.to_f32().unwrap(), [5., 14., 14., 50.]);
        let (x, y) = (
            counting(&[3]),
            Tensor::from_values(&[3], &[2f32, 0., 1.]).unwrap(),
        );
        let cross = run(
            "aten::cross",
            &[x.clone().into(), y.clone().into(), Value::None],
        );
        assert_eq!(cross.to_f32().unwrap(), [1., 4., -2.]);
        assert_eq!(
            run("aten::outer", &[x.into(), y.into()]).to_f32().unwrap()[6..],
            [4., 0., 2.]
        );
    }

    #[test]
    fn nearness_knows_what_is_not_a_number() {
        let x = Tensor::from_values(&[3], &[1f32, f32::INFINITY, f32::NAN]).unwrap();
        let close = |nan: bool| {
            let args = [
                x.clone().into(),
                x.clone().into(),
                Value::Float(0.0),
                Value::Float(0.0),
                nan.into(),
            ];
            apply(Op::of("aten::allclose"), &args, Contract::Fbgemm)
                .unwrap()
                .remove(0)
        };
        assert!(matches!(
            (close(true), close(false)),
            (Value::Bool(true), Value::Bool(false))
        ));
    }
}
