//! Packing weights for quantized operators, and unpacking them.
//!
//! A packed weight keeps the logical weight; nothing is reordered here.

use std::sync::Arc;

use planish_ir::{ConvGeometry, DType, Literal, PackedKind, PackedParams, QParams};
use smallvec::SmallVec;

use super::quant::half_rounded;
use super::{Kernel, Table};
use crate::call::Call;
use crate::{Error, Result, Tensor, Value};
use Kernel::{Many, One};

pub(super) const OPS: Table = &[
    ("quantized::linear_prepack", One(linear_prepack)),
    ("quantized::linear_prepack_fp16", One(linear_prepack_fp16)),
    ("quantized::conv_prepack", One(conv_prepack)),
    ("quantized::conv1d_prepack", One(conv_prepack)),
    ("quantized::conv2d_prepack", One(conv_prepack)),
    ("quantized::conv3d_prepack", One(conv_prepack)),
    (
        "quantized::conv_transpose1d_prepack",
        One(transpose_prepack),
    ),
    (
        "quantized::conv_transpose2d_prepack",
        One(transpose_prepack),
    ),
    (
        "quantized::conv_transpose3d_prepack",
        One(transpose_prepack),
    ),
    ("quantized::linear_unpack", Many(unpack)),
    ("quantized::linear_unpack_fp16", Many(unpack)),
    ("quantized::conv_unpack", Many(unpack)),
    ("quantized::conv1d_unpack", Many(unpack)),
    ("quantized::conv2d_unpack", Many(unpack)),
    ("quantized::conv3d_unpack", Many(unpack)),
    ("quantized::conv_transpose1d_unpack", Many(unpack)),
    ("quantized::conv_transpose2d_unpack", Many(unpack)),
    ("quantized::conv_transpose3d_unpack", Many(unpack)),
    ("quantized::conv2d_stride", One(geometry_list)),
    ("quantized::conv2d_padding", One(geometry_list)),
    ("quantized::conv2d_output_padding", One(geometry_list)),
    ("quantized::conv2d_dilation", One(geometry_list)),
    ("quantized::conv2d_groups", One(geometry_list)),
    ("quantized::conv2d_transpose", One(geometry_list)),
    ("quantized::conv3d_stride", One(geometry_list)),
    ("quantized::conv3d_padding", One(geometry_list)),
    ("quantized::conv3d_output_padding", One(geometry_list)),
    ("quantized::conv3d_dilation", One(geometry_list)),
    ("quantized::conv3d_groups", One(geometry_list)),
    ("quantized::conv3d_transpose", One(geometry_list)),
    ("quantized::conv_transpose2d_stride", One(geometry_list)),
    ("quantized::conv_transpose2d_padding", One(geometry_list)),
    (
        "quantized::conv_transpose2d_output_padding",
        One(geometry_list),
    ),
    ("quantized::conv_transpose2d_dilation", One(geometry_list)),
    ("quantized::conv_transpose2d_groups", One(geometry_list)),
    ("quantized::conv_transpose2d_transpose", One(geometry_list)),
    ("quantized::conv_transpose3d_stride", One(geometry_list)),
    ("quantized::conv_transpose3d_padding", One(geometry_list)),
    (
        "quantized::conv_transpose3d_output_padding",
        One(geometry_list),
    ),
    ("quantized::conv_transpose3d_dilation", One(geometry_list)),
    ("quantized::conv_transpose3d_groups", One(geometry_list)),
    ("quantized::conv_transpose3d_transpose", One(geometry_list)),
];

fn linear_prepack(call: &Call<'_>) -> Result<Value> {
    let weight = weight(call, 2)?;
    let bias = bias(call, &weight, weight.shape()[0])?;
    pack(PackedKind::Linear, &weight, bias)
}

fn linear_prepack_fp16(call: &Call<'_>) -> Result<Value> {
    let weight = call.tensor(0)?;
    if weight.dtype() != DType::Float || weight.rank() != 2 {
        return Err(call.wrong(0, "a float matrix"));
    }
    let bias = bias(call, weight, weight.shape()[0])?;
    pack(PackedKind::LinearFp16, &half_rounded(weight)?, bias)
}

/// `conv{1,2,3}d_prepack(weight, bias, stride, padding, dilation, groups)`
fn conv_prepack(call: &Call<'_>) -> Result<Value> {
    let spatial = spatial(call);
    let weight = weight(call, spatial + 2)?;
    let list = |index, default| -> Result<SmallVec<[i64; 3]>> {
        // PyTorch packs one dimension as two and looks at the first number alone: a layer that pads its input by itself gives two.
        if spatial == 1
            && let Some([first, _, ..]) = call.ints_opt(index)?.as_deref()
        {
            return Ok(SmallVec::from_elem(*first, 1));
        }
        Ok(call.ints_for(index, spatial, default)?.into())
    };
    let geometry = ConvGeometry {
        stride: list(2, 1)?,
        padding: list(3, 0)?,
        dilation: list(4, 1)?,
        output_padding: SmallVec::from_elem(0, spatial),
        groups: call.int_or(5, 1)?,
        transposed: false,
    };
    check(&geometry, &weight)?;
    let bias = bias(call, &weight, weight.shape()[0])?;
    pack(PackedKind::Conv(geometry), &weight, bias)
}

/// `conv_transpose{1,2,3}d_prepack(weight, bias, stride, padding, output_padding, dilation, groups)`
fn transpose_prepack(call: &Call<'_>) -> Result<Value> {
    let spatial = spatial(call);
    let weight = weight(call, spatial + 2)?;
    if matches!(weight.qparams(), Some(QParams::PerChannel { .. })) {
        return Err(call.unsupported("with a weight that is quantized channel by channel"));
    }
    let list = |index, default| -> Result<SmallVec<[i64; 3]>> {
        Ok(call.ints_for(index, spatial, default)?.into())
    };
    let geometry = ConvGeometry {
        stride: list(2, 1)?,
        padding: list(3, 0)?,
        output_padding: list(4, 0)?,
        dilation: list(5, 1)?,
        groups: call.int_or(6, 1)?,
        transposed: true,
    };
    check(&geometry, &weight)?;
    let outputs = weight.shape()[1] * geometry.groups;
    let bias = bias(call, &weight, outputs)?;
    pack(PackedKind::Conv(geometry), &weight, bias)
}

/// The number of spatial dimensions that the operator's name says; `conv_prepack` means two.
fn spatial(call: &Call<'_>) -> usize {
    let digit = call.short_name().bytes().find(u8::is_ascii_digit);
    digit.map_or(2, |digit| usize::from(digit - b'0'))
}

/// The weight: codes of type `QInt8`.
fn weight(call: &Call<'_>, rank: usize) -> Result<Tensor> {
    let weight = call.tensor(0)?;
    if weight.dtype() != DType::QInt8 || weight.rank() != rank {
        return Err(call.wrong(0, "a weight of type QInt8 with the operator's rank"));
    }
    Ok(weight.clone())
}

fn bias(call: &Call<'_>, weight: &Tensor, outputs: i64) -> Result<Option<Tensor>> {
    let Some(bias) = call.tensor_opt(1)? else {
        return Ok(None);
    };
    if bias.shape() != [outputs] {
        return Err(Error::Invalid(format!(
            "a bias {bias:?} does not fit a weight {weight:?}"
        )));
    }
    Ok(Some(bias.clone()))
}

fn check(geometry: &ConvGeometry, weight: &Tensor) -> Result<()> {
    let positive = |list: &[i64]| list.iter().all(|value| (1..=1 << 30).contains(value));
    let natural = |list: &[i64]| list.iter().all(|value| (0..=1 << 30).contains(value));
    let divided = if geometry.transposed {
        weight.shape()[0]
    } else {
        weight.shape()[0].max(1)
    };
    let fits = positive(&geometry.stride)
        && positive(&geometry.dilation)
        && natural(&geometry.padding)
        && natural(&geometry.output_padding)
        && geometry.groups > 0
        && divided % geometry.groups == 0;
    if fits {
        Ok(())
    } else {
        Err(Error::Invalid(format!(
            "{geometry:?} does not fit a weight {weight:?}"
        )))
    }
}

fn pack(kind: PackedKind, weight: &Tensor, bias: Option<Tensor>) -> Result<Value> {
    Ok(Value::Packed(Arc::new(PackedParams {
        kind,
        weight: weight.to_ir()?,
        bias: bias.map(|bias| bias.to_ir()).transpose()?,
    })))
}

fn unpack(call: &Call<'_>) -> Result<Vec<Value>> {
    let mut out = unpacked(call.packed(0)?);
    // One spatial dimension may be packed as two, with height 1.
    let one = call.short_name().contains("1d");
    if let Some(Value::Tensor(weight)) = out.first_mut()
        && one
        && weight.rank() == 4
    {
        *weight = weight.squeeze(|dim| dim == 2)?;
    }
    Ok(out)
}

fn unpacked(packed: &PackedParams) -> Vec<Value> {
    let bias = packed.bias.as_ref();
    let bias = bias.map_or(Value::None, |bias| Value::Tensor(bias.into()));
    vec![Value::Tensor((&packed.weight).into()), bias]
}

fn geometry_list(call: &Call<'_>) -> Result<Value> {
    let what = call
        .short_name()
        .split_once("d_")
        .map_or("", |(_, what)| what);
    packed_method(call.packed(0)?, what)
}

/// Calls a method of a packed weight's torchbind class.
pub(crate) fn packed_method(packed: &Arc<PackedParams>, name: &str) -> Result<Value> {
    let geometry = packed.geometry();
    let table = packed.kind == PackedKind::Embedding;
    let found = match (name, geometry) {
        ("unpack", _) if table => Some(Value::Tensor((&packed.weight).into())),
        ("bit_rate", _) if table => Some(Value::Int(match packed.weight.dtype() {
            DType::QUInt4x2 => 4,
            _ => 8,
        })),
        ("version", _) if table => Some(Value::Int(1)),
        ("unpack", _) => Some(Value::tuple(unpacked(packed))),
        ("bias", _) => unpacked(packed).pop(),
        ("weight", _) => Some(Value::Tensor((&packed.weight).into())),
        ("stride", Some(geometry)) => Some(Value::ints(&geometry.stride)),
        ("padding", Some(geometry)) => Some(Value::ints(&geometry.padding)),
        ("output_padding", Some(geometry)) => Some(Value::ints(&geometry.output_padding)),
        ("dilation", Some(geometry)) => Some(Value::ints(&geometry.dilation)),
        ("groups", Some(geometry)) => Some(Value::Int(geometry.groups)),
        ("transpose", Some(geometry)) => Some(Value::Bool(geometry.transposed)),
        ("__getstate__", _) => Some(Value::from(&Literal::Packed(Arc::clone(packed)))),
        _ => None,
    };
    found.ok_or_else(|| Error::Missing(format!("a method {name} of class {}", packed.class())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Contract, apply};
    use planish_ir::Op;

    fn codes(shape: &[i64]) -> Value {
        let count: i64 = shape.iter().product();
        let values: Vec<i8> = (0..count).map(|i| i as i8).collect();
        let tensor =
            planish_ir::Tensor::new(DType::QInt8, shape, bytemuck::cast_slice(&values).to_vec());
        let qparams = QParams::PerTensor {
            scale: 0.5,
            zero_point: 0,
        };
        Value::Tensor(Tensor::from(
            &tensor.unwrap().with_qparams(qparams).unwrap(),
        ))
    }

    #[test]
    fn packing_keeps_the_weight_and_its_geometry() {
        let inputs = [
            codes(&[4, 1, 3, 3]),
            Value::None,
            Value::ints(&[2, 2]),
            Value::ints(&[1, 1]),
            Value::ints(&[1, 1]),
            Value::Int(2),
        ];
        let op = Op::of("quantized::conv2d_prepack");
        let packed = apply(op, &inputs, Contract::Fbgemm).unwrap();
        let op = Op::of("quantized::conv2d_unpack");
        let unpacked = apply(op, &packed, Contract::Fbgemm).unwrap();
        assert_eq!(unpacked[0].as_tensor(), inputs[0].as_tensor());
        assert!(unpacked[1].is_none());
        let op = Op::of("quantized::conv2d_stride");
        let stride = apply(op, &packed, Contract::Fbgemm).unwrap();
        assert!(stride[0].equals(&Value::ints(&[2, 2])));
    }

    #[test]
    fn a_bias_of_the_wrong_size_is_refused() {
        let bias = Tensor::from_values(&[3], &[0f32; 3]).unwrap();
        let inputs = [codes(&[4, 2]), bias.into()];
        assert!(
            apply(
                Op::of("quantized::linear_prepack"),
                &inputs,
                Contract::Fbgemm
            )
            .is_err()
        );
    }
}
