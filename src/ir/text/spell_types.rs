//! Types: spelling, as PyTorch's graph printer has it.

use std::borrow::Cow;
use std::fmt;

use crate::text::quote::name_or_quoted;
use crate::{DType, TensorType, Type};

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(None) => f.write_str("Tensor"),
            Self::Tensor(Some(known)) => fmt::Display::fmt(known.as_ref(), f),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float"),
            Self::Bool => f.write_str("bool"),
            Self::Complex => f.write_str("complex"),
            Self::Scalar => f.write_str("Scalar"),
            Self::Str => f.write_str("str"),
            Self::None => f.write_str("NoneType"),
            Self::Any => f.write_str("Any"),
            Self::Device => f.write_str("Device"),
            Self::Named(name) | Self::Var(name) => fmt::Display::fmt(name, f),
            Self::Optional(inner) => write!(f, "{inner}?"),
            Self::List(element) => write!(f, "{element}[]"),
            Self::Tuple(elements) => write_types(f, "(", elements),
            Self::NamedTuple(named) => {
                f.write_str("NamedTuple")?;
                if named.name != "" {
                    write!(f, "<{}>", name_or_quoted(named.name.as_str(), true))?;
                }
                f.write_str("(")?;
                for (index, (field, ty)) in named.fields.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    let field = name_or_quoted(field.as_str(), false);
                    write!(f, "{comma}{field} : {ty}")?;
                }
                f.write_str(")")
            }
            Self::Dict(pair) => write!(f, "Dict({}, {})", pair.0, pair.1),
            Self::Union(members) => write_types(f, "Union(", members),
            Self::Future(inner) => write!(f, "Future({inner})"),
            Self::RRef(inner) => write!(f, "RRef({inner})"),
            Self::Await(inner) => write!(f, "Await({inner})"),
            Self::Class(name) => match name_or_quoted(name.as_str(), true) {
                Cow::Borrowed(name) if name.contains('.') => f.write_str(name),
                name => write!(f, "Class<{name}>"),
            },
            Self::Function(name) if *name == "" => f.write_str("Function"),
            Self::Function(name) => {
                write!(f, "Function<{}>", name_or_quoted(name.as_str(), true))
            }
        }
    }
}

fn write_types(f: &mut fmt::Formatter<'_>, open: &str, types: &[Type]) -> fmt::Result {
    f.write_str(open)?;
    for (index, ty) in types.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(f, "{comma}{ty}")?;
    }
    f.write_str(")")
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |dims: &[Option<i64>]| -> Vec<String> {
            let dim = |dim: &Option<i64>| dim.map_or("*".to_owned(), |size| size.to_string());
            dims.iter().map(dim).collect()
        };
        f.write_str(self.dtype.map_or("", DType::name))?;
        if self.dtype.is_none() || self.dims.is_none() {
            f.write_str("Tensor")?;
        }
        let mut parts = Vec::new();
        match &self.dims {
            // Only `Tensor(dims=[], …)` tells a tensor without dimensions from one of unknown rank when the element type is unknown too.
            Some(dims) if dims.is_empty() && self.dtype.is_none() => {
                parts.push("dims=[]".to_owned());
            }
            Some(dims) => parts.extend(text(dims)),
            None => {}
        }
        // PyTorch prints no strides for a tensor without dimensions.
        if let Some(strides) = self.strides.as_ref().filter(|strides| !strides.is_empty()) {
            parts.push(format!("strides=[{}]", text(strides).join(", ")));
        }
        if let Some(requires_grad) = self.requires_grad {
            parts.push(format!("requires_grad={}", u8::from(requires_grad)));
        }
        if let Some(device) = self.device {
            parts.push(format!("device={device}"));
        }
        if parts.is_empty() && self.dims.is_none() {
            return Ok(());
        }
        write!(f, "({})", parts.join(", "))
    }
}
