//! The way back from a pool of largest values: each goes where it came from, and everything else is zero.

use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, Result, Tensor, Value};
use Kernel::One;

pub(super) const OPS: Table = &[
    ("aten::max_unpool2d", One(unpool)),
    ("aten::max_unpool3d", One(unpool)),
];

/// `max_unpool2d(tensor, indices, output_size)`
fn unpool(call: &Call<'_>) -> Result<Value> {
    let (tensor, indices, sizes) = (call.tensor(0)?, call.tensor(1)?, call.ints(2)?);
    let spatial = if call.short_name() == "max_unpool2d" {
        2
    } else {
        3
    };
    if tensor.rank() < spatial || sizes.len() != spatial || tensor.shape() != indices.shape() {
        return Err(call.wrong(1, "the place of each element, and sizes of the result"));
    }
    let (lead, inner) = tensor.shape().split_at(tensor.rank() - spatial);
    let (from, to) = (inner.iter().product::<i64>(), sizes.iter().product::<i64>());
    let format = tensor.memory_format();
    let out = Tensor::zeros(tensor.dtype(), &[lead, &sizes].concat(), format)?;
    let (values, places) = (tensor.to_f64()?, indices.to_i64()?);
    let mut all = vec![0f64; out.numel()];
    for (at, (value, place)) in values.iter().zip(places).enumerate() {
        if !(0..to).contains(&place) {
            return Err(Error::Invalid(format!(
                "place {place} is outside a result of sizes {sizes:?}"
            )));
        }
        all[at / from.max(1) as usize * to as usize + place as usize] = *value;
    }
    out.write_f64(&all)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::trial::{counting, run};

    #[test]
    fn values_go_back_to_their_places() {
        let places = Tensor::from_values(&[2, 1, 2], &[1i64, 2, 0, 3]).unwrap();
        let args = [
            counting(&[2, 1, 2]).into(),
            places.into(),
            Value::ints(&[2, 2]),
        ];
        assert_eq!(
            run("aten::max_unpool2d", &args).to_f32().unwrap(),
            [0., 0., 1., 0., 2., 0., 0., 3.]
        );
    }
}
