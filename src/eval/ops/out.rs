//! Overloads that write their results to tensors that are given: `out`.
//!
//! Each has a plain overload with the same arguments but those, which is what it computes.

use planish_ir::Op;

use super::elementwise::like;
use super::join::convert_into;
use crate::{Error, Result, Tensor, Value};

/// The overload without the arguments that are written to, and how many these are.
pub(super) fn without(op: Op) -> Option<(Op, usize)> {
    let params = &op.schema()?.params;
    let written = params.iter().rev();
    let outs = written.take_while(|param| {
        param.kwarg_only && param.alias.as_ref().is_some_and(|alias| alias.writes)
    });
    let outs = outs.count();
    let plain = &params[..params.len() - outs];
    let same = |other: &Op| {
        let others = other.schema().map(|schema| &schema.params[..]);
        others.is_some_and(|others| {
            others.len() == plain.len()
                && others
                    .iter()
                    .zip(plain)
                    .all(|(a, b)| (a.name, &a.ty) == (b.name, &b.ty))
        })
    };
    let found = (outs > 0).then(|| Op::overloads(op.name()).into_iter().find(same))?;
    Some((found?, outs))
}

/// Writes results to the tensors that were given for them.
pub(crate) fn write(targets: &[Value], results: &[Value]) -> Result<Vec<Value>> {
    let pairs = targets.iter().zip(results).map(|pair| match pair {
        (Value::Tensor(target), Value::Tensor(result)) => {
            write_one(target, result)?;
            Ok(target.clone().into())
        }
        _ => Err(Error::invalid("only tensors are written to")),
    });
    pairs.collect()
}

/// Writes a result; a tensor without elements takes its sizes.
fn write_one(target: &Tensor, result: &Tensor) -> Result<()> {
    let floats = |tensor: &Tensor| tensor.dtype().is_floating_point();
    if target.dtype().is_quantized() || (floats(result) && !floats(target)) {
        return Err(Error::Invalid(format!(
            "a result {result:?} cannot be written to {target:?}"
        )));
    }
    if target.shape() != result.shape() {
        target.turn_into(&like(result, target.dtype())?)?;
    }
    convert_into(result, target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::counting;
    use crate::{Contract, apply};

    #[test]
    fn a_result_goes_where_it_is_told_and_brings_its_sizes() {
        let (x, other) = (counting(&[2, 2]), counting(&[2, 2]));
        let args = [
            x.clone().into(),
            x.clone().into(),
            Value::Int(1),
            other.clone().into(),
        ];
        let out = apply(Op::of("aten::add.out"), &args, Contract::Fbgemm).unwrap();
        assert!(out[0].as_tensor().unwrap().is_same(&other));
        assert_eq!(other.to_f32().unwrap(), [0., 2., 4., 6.]);
        let (values, places) = (
            counting(&[0]),
            Tensor::from_values(&[0], &[0i64; 0]).unwrap(),
        );
        let args = [
            x.into(),
            Value::Int(1),
            false.into(),
            values.clone().into(),
            places.clone().into(),
        ];
        apply(Op::of("aten::max.dim_max"), &args, Contract::Fbgemm).unwrap();
        assert_eq!(
            (values.to_f32().unwrap(), places.to_i64().unwrap()),
            (vec![1., 3.], vec![1, 1])
        );
    }
}
