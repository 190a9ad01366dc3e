//! One call of an operator: its arguments, read with messages that name them.

use std::cell::Cell;
use std::sync::Arc;

use planish_ir::{DType, Op, PackedParams, Sym};

use crate::interp::apply_kernel;
use crate::value::{Dict, List};
use crate::{Contract, Error, Result, Tensor, Value};

/// A call of an operator.
pub(crate) struct Call<'a> {
    pub(crate) op: Op,
    pub(crate) args: &'a [Value],
    pub(crate) contract: Contract,
    /// Work that may still be done, and the whole of it for the message.
    pub(crate) work: &'a Work,
}

/// Work left.
#[derive(Debug)]
pub(crate) struct Work {
    left: Cell<u64>,
    limit: u64,
}

/// A Python number.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
}

impl Work {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            left: Cell::new(limit),
            limit,
        }
    }

    /// Takes `steps` from what is left.
    pub(crate) fn take(&self, steps: u64) -> Result<()> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(Error::Limit {
                what: "steps",
                limit: self.limit,
            }),
        }
    }
}

impl<'a> Call<'a> {
    /// Takes `steps` from the work that may be done. Operators that do more than look at each element of inputs and outputs once
    /// announce it here.
    pub(crate) fn work(&self, steps: impl TryInto<u64>) -> Result<()> {
        self.work.take(steps.try_into().unwrap_or(u64::MAX))
    }

    /// The argument, or `None` when it is not given.
    pub(crate) fn get(&self, index: usize) -> &'a Value {
        self.args.get(index).unwrap_or(&Value::None)
    }

    pub(crate) fn is_none(&self, index: usize) -> bool {
        self.get(index).is_none()
    }

    pub(crate) fn tensor(&self, index: usize) -> Result<&'a Tensor> {
        match self.get(index) {
            Value::Tensor(tensor) => Ok(tensor),
            _ => Err(self.wrong(index, "a tensor")),
        }
    }

    pub(crate) fn tensor_opt(&self, index: usize) -> Result<Option<&'a Tensor>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.tensor(index).map(Some),
        }
    }

    pub(crate) fn tensors(&self, index: usize) -> Result<Vec<Tensor>> {
        let items = self.items(index)?;
        let tensors = items.iter().map(|item| item.as_tensor().cloned());
        let tensors: Option<Vec<_>> = tensors.collect();
        tensors.ok_or_else(|| self.wrong(index, "a list of tensors"))
    }

    pub(crate) fn int(&self, index: usize) -> Result<i64> {
        match self.get(index) {
            Value::Int(value) => Ok(*value),
            Value::Bool(value) => Ok(i64::from(*value)),
            _ => Err(self.wrong(index, "an int")),
        }
    }

    pub(crate) fn int_or(&self, index: usize, default: i64) -> Result<i64> {
        Ok(self.int_opt(index)?.unwrap_or(default))
    }

    pub(crate) fn int_opt(&self, index: usize) -> Result<Option<i64>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.int(index).map(Some),
        }
    }

    pub(crate) fn float(&self, index: usize) -> Result<f64> {
        match self.scalar(index) {
            Ok(scalar) => Ok(scalar.to_f64()),
            Err(_) => Err(self.wrong(index, "a float")),
        }
    }

    pub(crate) fn float_or(&self, index: usize, default: f64) -> Result<f64> {
        Ok(self.float_opt(index)?.unwrap_or(default))
    }

    pub(crate) fn float_opt(&self, index: usize) -> Result<Option<f64>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.float(index).map(Some),
        }
    }

    pub(crate) fn bool(&self, index: usize) -> Result<bool> {
        match self.get(index) {
            Value::Bool(value) => Ok(*value),
            Value::Int(value) => Ok(*value != 0),
            _ => Err(self.wrong(index, "a bool")),
        }
    }

    pub(crate) fn bool_or(&self, index: usize, default: bool) -> Result<bool> {
        match self.get(index) {
            Value::None => Ok(default),
            _ => self.bool(index),
        }
    }

    pub(crate) fn scalar(&self, index: usize) -> Result<Scalar> {
        match Scalar::of(self.get(index)) {
            Some(scalar) => Ok(scalar),
            None => Err(self.wrong(index, "a number")),
        }
    }

    pub(crate) fn scalar_opt(&self, index: usize) -> Result<Option<Scalar>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.scalar(index).map(Some),
        }
    }

    pub(crate) fn str(&self, index: usize) -> Result<&'a str> {
        match self.get(index) {
            Value::Str(text) => Ok(text),
            _ => Err(self.wrong(index, "a string")),
        }
    }

    pub(crate) fn list(&self, index: usize) -> Result<&'a List> {
        match self.get(index) {
            Value::List(list) => Ok(list),
            _ => Err(self.wrong(index, "a list")),
        }
    }

    pub(crate) fn dict(&self, index: usize) -> Result<&'a Dict> {
        match self.get(index) {
            Value::Dict(dict) => Ok(dict),
            _ => Err(self.wrong(index, "a dict")),
        }
    }

    pub(crate) fn packed(&self, index: usize) -> Result<&'a Arc<PackedParams>> {
        match self.get(index) {
            Value::Packed(packed) => Ok(packed),
            _ => Err(self.wrong(index, "packed weights")),
        }
    }

    /// The elements of a list or tuple.
    pub(crate) fn items(&self, index: usize) -> Result<Vec<Value>> {
        match self.get(index) {
            Value::List(list) => Ok(list.to_vec()),
            Value::Tuple(items) => Ok(items.to_vec()),
            _ => Err(self.wrong(index, "a list")),
        }
    }

    /// Ints; a single int stands for a list of one.
    pub(crate) fn ints(&self, index: usize) -> Result<Vec<i64>> {
        if let Value::Int(value) = self.get(index) {
            return Ok(vec![*value]);
        }
        let items = self
            .items(index)
            .map_err(|_| self.wrong(index, "a list of ints"))?;
        let ints: Option<Vec<i64>> = items.iter().map(Value::as_int).collect();
        ints.ok_or_else(|| self.wrong(index, "a list of ints"))
    }

    pub(crate) fn ints_opt(&self, index: usize) -> Result<Option<Vec<i64>>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.ints(index).map(Some),
        }
    }

    /// One int for each of `count` dimensions; a single one stands for all, and none (or nothing given) for `default`.
    pub(crate) fn ints_for(&self, index: usize, count: usize, default: i64) -> Result<Vec<i64>> {
        let ints = self.ints_opt(index)?.unwrap_or_default();
        match ints.len() {
            0 => Ok(vec![default; count]),
            1 => Ok(vec![ints[0]; count]),
            len if len == count => Ok(ints),
            _ => Err(self.wrong(index, "one int for each dimension")),
        }
    }

    pub(crate) fn floats_opt(&self, index: usize) -> Result<Option<Vec<f64>>> {
        if self.is_none(index) {
            return Ok(None);
        }
        let items = self.items(index)?;
        let floats: Option<Vec<f64>> = items
            .iter()
            .map(|item| Scalar::of(item).map(Scalar::to_f64))
            .collect();
        match floats {
            Some(floats) => Ok(Some(floats)),
            None => Err(self.wrong(index, "a list of floats")),
        }
    }

    pub(crate) fn dtype(&self, index: usize) -> Result<DType> {
        DType::from_code(self.int(index)?).ok_or_else(|| self.wrong(index, "an element type"))
    }

    pub(crate) fn dtype_opt(&self, index: usize) -> Result<Option<DType>> {
        match self.get(index) {
            Value::None => Ok(None),
            _ => self.dtype(index).map(Some),
        }
    }

    /// A dimension of `tensor`, which may count from the end.
    pub(crate) fn dim(&self, index: usize, tensor: &Tensor) -> Result<usize> {
        tensor.dim_index(self.int(index)?)
    }

    /// A dimension of `tensor` that it really has, with its size.
    pub(crate) fn sized_dim(&self, index: usize, tensor: &Tensor) -> Result<(usize, i64)> {
        let dim = self.dim(index, tensor)?;
        match tensor.shape().get(dim) {
            Some(size) => Ok((dim, *size)),
            None => Err(self.wrong(index, "a dimension of a tensor that has some")),
        }
    }

    /// The error that argument `index` is not what it should be.
    pub(crate) fn wrong(&self, index: usize, wanted: &'static str) -> Error {
        let param = self.op.schema().and_then(|schema| schema.params.get(index));
        let found = match self.args.get(index) {
            None => "not given".to_owned(),
            Some(value @ (Value::Tensor(_) | Value::List(_) | Value::Int(_) | Value::Float(_))) => {
                format!("{} ({value})", value.kind())
            }
            Some(value) => value.kind().to_owned(),
        };
        Error::Argument {
            index,
            name: param.map_or("?", |param| param.name.as_str()).to_owned(),
            wanted,
            found,
        }
    }

    /// What another operator makes of `args`, under the same contract and from the same work.
    pub(crate) fn other(&self, op: &str, args: &[Value]) -> Result<Value> {
        let results = apply_kernel(Op::of(op), args, self.contract, self.work)?;
        let first = results.into_iter().next();
        first.ok_or_else(|| self.unsupported(format_args!("by {op}, which gives nothing")))
    }

    /// The error that the operator does not do this.
    pub(crate) fn unsupported(&self, what: impl std::fmt::Display) -> Error {
        Error::Unsupported(format!("{} {what}", self.op))
    }

    /// The part of the operator's name after `::`.
    pub(crate) fn short_name(&self) -> &'static str {
        let name: Sym = self.op.name();
        let name = name.as_str();
        name.rsplit_once("::").map_or(name, |(_, short)| short)
    }
}

impl Scalar {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Float(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Bool(value) => f64::from(u8::from(value)),
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The number with its fraction cut off.
    pub(crate) fn to_i64(self) -> i64 {
        match self {
            Self::Bool(value) => i64::from(value),
            Self::Int(value) => value,
            Self::Float(value) => value as i64,
        }
    }
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Int(value) => Self::Int(value),
            Scalar::Float(value) => Self::Float(value),
        }
    }
}
