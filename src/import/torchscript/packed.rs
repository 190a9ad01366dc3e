//! Packed weights: the native objects of PyTorch's quantized operators, from their pickled state.
//!
//! The state holds the weight unpacked, in its logical layout, so no engine's layout is ever read.

use std::sync::Arc;

use planish_ir::{
    ConvGeometry, DType, Literal, Object, PackedKind, PackedParams, QParams, Sym, Tensor, Type,
};

/// Where the native classes of PyTorch's quantized operators live.
pub(super) const NAMESPACE: &str = "__torch__.torch.classes.";

/// Rebuilds an object of a native class from its state.
pub(super) fn rebuild(class: &str, state: &Literal) -> Result<Literal, String> {
    let parts = elements(state).ok_or("its state is no tuple")?;
    let packed = match class.strip_prefix(NAMESPACE) {
        Some("quantized.LinearPackedParamsBase") => linear(parts),
        Some("quantized.Conv2dPackedParamsBase") => conv(parts, 2),
        Some("quantized.Conv3dPackedParamsBase") => conv(parts, 3),
        Some("quantized.EmbeddingPackedParamsBase") => embedding(parts),
        Some("rnn.CellParamsBase") => return cell(class, parts),
        _ => Err("objects of this native class are not supported".into()),
    };
    packed.map(|packed| Literal::Packed(Arc::new(packed)))
}

/// What a method of a native class returns; it takes nothing but the object.
pub(super) fn returns(class: &str, method: &str) -> Option<Type> {
    let class = class.strip_prefix(NAMESPACE)?;
    let is_conv = matches!(
        class,
        "quantized.Conv2dPackedParamsBase" | "quantized.Conv3dPackedParamsBase"
    );
    let is_table = class == "quantized.EmbeddingPackedParamsBase";
    if !is_conv && !is_table && class != "quantized.LinearPackedParamsBase" {
        return None;
    }
    let bias = || Type::optional(Type::TENSOR);
    Some(match method {
        "unpack" if is_table => Type::TENSOR,
        "unpack" => Type::tuple([Type::TENSOR, bias()]),
        "bit_rate" | "version" if is_table => Type::Int,
        "bias" if !is_table => bias(),
        "weight" if is_conv => Type::TENSOR,
        "stride" | "padding" | "output_padding" | "dilation" if is_conv => Type::list(Type::Int),
        "groups" if is_conv => Type::Int,
        "transpose" if is_conv => Type::Bool,
        _ => return None,
    })
}

/// `(weight, bias or None)`.
fn linear(parts: &[Literal]) -> Result<PackedParams, String> {
    let [weight, bias] = parts else {
        return Err(format!("its state has {} parts, not 2", parts.len()));
    };
    let weight = weight.as_tensor().ok_or("its weight is no tensor")?.clone();
    if weight.shape().len() != 2 {
        return Err(format!("its weight has shape {:?}", weight.shape()));
    }
    let kind = if weight.dtype() == DType::QInt8 {
        PackedKind::Linear
    } else {
        PackedKind::LinearFp16
    };
    let bias = optional_tensor(bias)?;
    Ok(PackedParams { kind, weight, bias })
}

/// `("2", [config, weight], [bias or None])`.
fn conv(parts: &[Literal], spatial: usize) -> Result<PackedParams, String> {
    let [version, tensors, optional] = parts else {
        return Err(format!("its state has {} parts, not 3", parts.len()));
    };
    match version.as_str() {
        Some("2") => {}
        _ => return Err(format!("its state has version {version:?}, not \"2\"")),
    }
    let (Some([config, weight]), Some([bias])) = (elements(tensors), elements(optional)) else {
        return Err("its state has a wrong number of tensors".into());
    };
    let config = config
        .as_tensor()
        .and_then(Tensor::values::<i16>)
        .ok_or("its geometry is no int16 tensor")?;
    let weight = weight.as_tensor().ok_or("its weight is no tensor")?.clone();
    if weight.shape().len() != spatial + 2 || weight.dtype() != DType::QInt8 {
        return Err(format!("its weight is {weight:?}"));
    }
    Ok(PackedParams {
        kind: PackedKind::Conv(geometry(&config, spatial)?),
        weight,
        bias: optional_tensor(bias)?,
    })
}

/// `(1, [weight], [], [bits])`.
fn embedding(parts: &[Literal]) -> Result<PackedParams, String> {
    let [version, tensors, _, _] = parts else {
        return Err(format!("its state has {} parts, not 4", parts.len()));
    };
    if version.as_int() != Some(1) {
        return Err(format!("its state has version {version:?}, not 1"));
    }
    let Some([Literal::Tensor(weight)]) = elements(tensors) else {
        return Err("its state does not hold one tensor".into());
    };
    if weight.shape().len() != 2
        || !matches!(weight.qparams(), Some(QParams::PerChannelFloat { .. }))
    {
        return Err(format!("its weight is {weight:?}"));
    }
    Ok(PackedParams {
        kind: PackedKind::Embedding,
        weight: weight.clone(),
        bias: None,
    })
}

/// `(kind, biases, scales, flags, weights)`: the weights and biases of a recurrent cell for its input and for its state. It stays an
/// object, since it is several packed weights.
fn cell(class: &str, parts: &[Literal]) -> Result<Literal, String> {
    let [kind, biases, scales, flags, weights] = parts else {
        return Err(format!("its state has {} parts, not 5", parts.len()));
    };
    match kind.as_str() {
        Some("quantized_dynamic" | "quantized_fp16") => {}
        _ => return Err(format!("cells of kind {kind:?} are not supported")),
    }
    let packed = elements(weights).unwrap_or_default();
    if packed.len() != 2 || !packed.iter().all(|part| matches!(part, Literal::Packed(_))) {
        return Err("its state does not hold two packed weights".into());
    }
    let fields = ["kind", "biases", "scales", "flags", "weights"].map(Sym::new);
    let values = [kind, biases, scales, flags, weights].map(Literal::clone);
    Ok(Literal::Object(Arc::new(Object {
        class: Sym::new(class),
        fields: fields.into_iter().zip(values).collect(),
    })))
}

/// `[spatial, stride.., padding.., dilation.., output_padding.., groups, flags]`; bit 0 of the
/// flags says transposed.
fn geometry(config: &[i16], spatial: usize) -> Result<ConvGeometry, String> {
    let wrong = || format!("its geometry is {config:?}");
    let (dims, rest) = config.split_first().ok_or_else(wrong)?;
    if usize::try_from(*dims) != Ok(spatial) || rest.len() != 4 * spatial + 2 {
        return Err(wrong());
    }
    let list = |at: usize| {
        let part = &rest[at * spatial..(at + 1) * spatial];
        part.iter().map(|value| i64::from(*value)).collect()
    };
    let flags = rest[4 * spatial + 1];
    if !matches!(flags, 0 | 1) {
        return Err(wrong());
    }
    Ok(ConvGeometry {
        stride: list(0),
        padding: list(1),
        dilation: list(2),
        output_padding: list(3),
        groups: i64::from(rest[4 * spatial]),
        transposed: flags == 1,
    })
}

fn optional_tensor(literal: &Literal) -> Result<Option<Tensor>, String> {
    match literal {
        Literal::None => Ok(None),
        Literal::Tensor(tensor) => Ok(Some(tensor.clone())),
        _ => Err("its bias is no tensor".into()),
    }
}

fn elements(literal: &Literal) -> Option<&[Literal]> {
    match literal {
        Literal::Tuple(items) | Literal::List(_, items) => Some(items),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple<const N: usize>(items: [Literal; N]) -> Literal {
        Literal::Tuple(items.into())
    }

    fn weight(shape: &[i64]) -> Literal {
        let numel = shape.iter().product::<i64>() as usize;
        let qparams = planish_ir::QParams::PerTensor {
            scale: 0.5,
            zero_point: 0,
        };
        let codes = Tensor::new(DType::QInt8, shape, vec![1; numel]).unwrap();
        Literal::Tensor(codes.with_qparams(qparams).unwrap())
    }

    #[test]
    fn conv_transpose2d_geometry() {
        let config = [2i16, 2, 2, 1, 1, 1, 1, 1, 1, 2, 1];
        let config = Tensor::from_values::<i16>(&[11], &config).unwrap();
        let state = tuple([
            Literal::str("2"),
            tuple([Literal::Tensor(config), weight(&[8, 4, 3, 3])]),
            tuple([Literal::None]),
        ]);
        let class = "__torch__.torch.classes.quantized.Conv2dPackedParamsBase";
        let Literal::Packed(packed) = rebuild(class, &state).unwrap() else {
            panic!("a weight is packed");
        };
        let geometry = packed.geometry().unwrap();
        assert_eq!(geometry.stride[..], [2, 2]);
        assert_eq!(geometry.padding[..], [1, 1]);
        assert_eq!(geometry.output_padding[..], [1, 1]);
        assert_eq!((geometry.groups, geometry.transposed), (2, true));
        assert!(packed.bias.is_none());
        assert_eq!(packed.class(), class);
    }

    #[test]
    fn wrong_states_are_errors() {
        let linear = "__torch__.torch.classes.quantized.LinearPackedParamsBase";
        let ok = tuple([weight(&[2, 3]), Literal::None]);
        let packed = rebuild(linear, &ok).unwrap();
        assert!(matches!(packed, Literal::Packed(packed) if packed.kind == PackedKind::Linear));
        for (class, state) in [
            (linear, Literal::None),
            (linear, tuple([weight(&[2, 3])])),
            (linear, tuple([weight(&[6]), Literal::None])),
            (linear, tuple([weight(&[2, 3]), Literal::Int(1)])),
            ("__torch__.torch.classes.rnn.CellParamsBase", ok.clone()),
            (
                "__torch__.torch.classes.quantized.Conv3dPackedParamsBase",
                ok,
            ),
        ] {
            assert!(rebuild(class, &state).is_err(), "{class}");
        }
    }
}
