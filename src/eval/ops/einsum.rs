//! Sums of products by the names of dimensions.

use std::collections::BTreeMap;

use planish_ir::Dims;

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[("aten::einsum", One(einsum))];

/// A tensor with a name for each dimension.
struct Named {
    tensor: Tensor,
    names: Vec<char>,
}

/// `einsum(equation, tensors, path)`: operands are multiplied from the left to the right, each product as batches of matrices.
fn einsum(call: &Call<'_>) -> Result<Value> {
    let equation: String = call.str(0)?.chars().filter(|c| *c != ' ').collect();
    let tensors = call.tensors(1)?;
    let (inputs, output) = match equation.split_once("->") {
        Some((inputs, output)) => (inputs.to_owned(), Some(output.to_owned())),
        None => (equation, None),
    };
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != tensors.len() || tensors.is_empty() {
        return Err(call.wrong(0, "a term for each tensor"));
    }
    let mut operands = Vec::new();
    for (term, tensor) in terms.iter().zip(tensors) {
        operands.push(Named::new(call, term, tensor)?);
    }
    let mut uses: BTreeMap<char, usize> = BTreeMap::new();
    for operand in &operands {
        for name in &operand.names {
            *uses.entry(*name).or_default() += 1;
        }
    }
    let wanted: Vec<char> = match output {
        Some(output) => output.chars().collect(),
        None => uses
            .iter()
            .filter(|(_, n)| **n == 1)
            .map(|(name, _)| *name)
            .collect(),
    };
    let known = wanted
        .iter()
        .enumerate()
        .all(|(at, name)| uses.contains_key(name) && !wanted[..at].contains(name));
    if !known {
        return Err(call.wrong(0, "an equation whose result names each dimension once"));
    }
    let mut rest: std::collections::VecDeque<Named> = operands.into();
    let Some(mut product) = rest.pop_front() else {
        return Err(call.wrong(1, "tensors"));
    };
    while let Some(next) = rest.pop_front() {
        let later = |name: &char| {
            wanted.contains(name) || rest.iter().any(|operand| operand.names.contains(name))
        };
        product = product.times(call, &next, later)?;
    }
    Ok(product
        .summed(call, |name| wanted.contains(name))?
        .ordered(&wanted)?
        .into())
}

impl Named {
    fn new(call: &Call<'_>, term: &str, tensor: Tensor) -> Result<Self> {
        let names: Vec<char> = term.chars().collect();
        if names.len() != tensor.rank() || !names.iter().all(char::is_ascii_alphabetic) {
            return Err(call.unsupported(format_args!("of the term {term:?}")));
        }
        let mut named = Self { tensor, names };
        // A name that stands twice means the diagonal.
        while let Some((a, b)) = named.twice() {
            let (mut shape, mut strides) = (
                Dims::from(named.tensor.shape()),
                Dims::from(named.tensor.strides()),
            );
            if shape[a] != shape[b] {
                return Err(call.wrong(1, "equal sizes for equal names"));
            }
            strides[a] += strides[b];
            shape.remove(b);
            strides.remove(b);
            named.names.remove(b);
            named.tensor = named
                .tensor
                .as_strided(&shape, &strides, named.tensor.offset())?;
        }
        Ok(named)
    }

    fn twice(&self) -> Option<(usize, usize)> {
        let last = (0..self.names.len()).find(|at| self.names[..*at].contains(&self.names[*at]))?;
        let first = self
            .names
            .iter()
            .position(|name| *name == self.names[last])?;
        Some((first, last))
    }

    fn size(&self, name: char) -> Option<i64> {
        let at = self.names.iter().position(|other| *other == name)?;
        Some(self.tensor.shape()[at])
    }

    /// The sum over all dimensions but those that are kept.
    fn summed(self, call: &Call<'_>, kept: impl Fn(&char) -> bool) -> Result<Self> {
        let away = (0..self.names.len()).filter(|at| !kept(&self.names[*at]));
        let away: Vec<i64> = away.map(|at| at as i64).collect();
        if away.is_empty() {
            return Ok(self);
        }
        let args = [
            self.tensor.into(),
            Value::ints(&away),
            false.into(),
            Value::None,
        ];
        let Value::Tensor(tensor) = call.other("aten::sum.dim_IntList", &args)? else {
            return Err(call.wrong(1, "tensors"));
        };
        let names = self
            .names
            .iter()
            .copied()
            .filter(|name| kept(name))
            .collect();
        Ok(Self { tensor, names })
    }

    /// The dimensions in the given order.
    fn ordered(&self, names: &[char]) -> Result<Tensor> {
        let place = |name: &char| self.names.iter().position(|other| other == name);
        let order: Vec<usize> = names.iter().filter_map(place).collect();
        self.tensor.permute(&order)
    }

    /// The dimensions in groups, each of which becomes one.
    fn grouped(&self, groups: [&[char]; 3]) -> Result<Tensor> {
        let shape: Dims = groups
            .iter()
            .map(|group| group.iter().filter_map(|name| self.size(*name)).product())
            .collect();
        self.ordered(&groups.concat())?.reshape(&shape)
    }

    /// The product, summed over the names that nothing needs later.
    fn times(self, call: &Call<'_>, other: &Self, later: impl Fn(&char) -> bool) -> Result<Self> {
        let other = Self {
            tensor: other.tensor.clone(),
            names: other.names.clone(),
        };
        let (mine, theirs) = (self.names.clone(), other.names.clone());
        let left = self.summed(call, |name| later(name) || theirs.contains(name))?;
        let right = other.summed(call, |name| later(name) || mine.contains(name))?;
        let shared = |name: &char| left.names.contains(name) && right.names.contains(name);
        let all = || left.names.iter().copied();
        let batch: Vec<char> = all().filter(|name| shared(name) && later(name)).collect();
        let inner: Vec<char> = all().filter(|name| shared(name) && !later(name)).collect();
        let rows: Vec<char> = all().filter(|name| !shared(name)).collect();
        let columns = right.names.iter().copied().filter(|name| !shared(name));
        let columns: Vec<char> = columns.collect();
        let mut names = batch.clone();
        names.extend(rows.iter().chain(&columns));
        let equal = |name: &char| left.size(*name) == right.size(*name);
        if !batch.iter().chain(&inner).all(equal) {
            return Err(call.wrong(1, "equal sizes for equal names"));
        }
        let mut shape = Dims::new();
        for name in &names {
            shape.extend(left.size(*name).or_else(|| right.size(*name)));
        }
        let a = left.grouped([&batch, &rows, &inner])?;
        let b = right.grouped([&batch, &inner, &columns])?;
        let Value::Tensor(product) = call.other("aten::bmm", &[a.into(), b.into()])? else {
            return Err(call.wrong(1, "tensors"));
        };
        Ok(Self {
            tensor: product.reshape(&shape)?,
            names,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::Value;
    use crate::ops::trial::{counting, run};
    use planish_ir::Type;

    fn einsum(equation: &str, shapes: &[&[i64]]) -> Vec<f32> {
        let tensors = shapes.iter().map(|shape| Value::from(counting(shape)));
        let tensors = Value::list(Type::TENSOR, tensors);
        let args = [Value::str(equation), tensors, Value::None];
        run("aten::einsum", &args).to_f32().unwrap()
    }

    #[test]
    fn names_say_what_is_multiplied_and_summed() {
        assert_eq!(einsum("ij,jk->ik", &[&[1, 2], &[2, 2]]), [2., 3.]);
        assert_eq!(einsum("ij->ji", &[&[2, 2]]), [0., 2., 1., 3.]);
        assert_eq!(einsum("ii->", &[&[2, 2]]), [3.]);
        assert_eq!(einsum("i,j", &[&[2], &[2]]), [0., 0., 0., 1.]);
        assert_eq!(einsum("bi,bi,b->b", &[&[2, 2], &[2, 2], &[2]]), [0., 13.]);
    }
}
