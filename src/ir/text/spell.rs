//! Literals and tensors: spelling.
//!
//! The law: reading a spelled literal where the same type is declared gives the same literal. Where the declared type would make it
//! something else, `annotate(T, …)` says what it is.

use crate::text::element::decode;
use crate::text::literal::{same_type, takes_numbers, wanted};
use crate::text::number::{complex, precise, shortest};
use crate::text::print::{Printer, Style};
use crate::text::quote::{name_or_quoted, quote};
use crate::text::tensor::reach;
use crate::{Literal, PackedKind, PackedParams, QParams, Tensor, Type};

impl Printer<'_> {
    /// Appends a literal that stands where `declared` is the declared type.
    pub(super) fn literal(&mut self, literal: &Literal, declared: Option<&Type>) {
        let declared = wanted(declared);
        match literal {
            Literal::None => self.out.push_str("None"),
            Literal::Bool(value) => self.out.push_str(match (declared, value) {
                (Some(Type::Bool), true) => "1",
                (Some(Type::Bool), false) => "0",
                (_, true) => "True",
                (_, false) => "False",
            }),
            Literal::Int(value) => match declared {
                None => self.out.push_str(&value.to_string()),
                Some(ty) if takes_numbers(ty) => self.out.push_str(&value.to_string()),
                Some(_) => self.annotated("int", literal, &Type::Int),
            },
            Literal::Float(value) => {
                let text = self.float(*value);
                let bits = text.starts_with("0x");
                match declared {
                    Some(Type::Float) => self.out.push_str(&text),
                    None if !bits => self.out.push_str(&text),
                    Some(ty) if takes_numbers(ty) && *ty != Type::Int && !bits => {
                        self.out.push_str(&text);
                    }
                    _ => self.annotated("float", literal, &Type::Float),
                }
            }
            Literal::Complex(real, imaginary) => match declared {
                None | Some(Type::Complex | Type::Scalar | Type::Union(_)) => {
                    let text = complex(&self.float(*real), &self.float(*imaginary));
                    self.out.push_str(&text);
                }
                Some(_) => self.annotated("complex", literal, &Type::Complex),
            },
            Literal::Str(text) => match declared {
                None | Some(Type::Str | Type::Union(_)) => self.out.push_str(&quote(text)),
                Some(_) => self.annotated("str", literal, &Type::Str),
            },
            Literal::Device(device) => match declared {
                Some(Type::Device) => self.out.push_str(&quote(device.as_str())),
                _ => self.annotated("Device", literal, &Type::Device),
            },
            Literal::Tensor(tensor) => self.tensor(tensor),
            Literal::List(element, items) => match declared {
                _ if items.is_empty() => self.annotated_list(element, items),
                Some(Type::List(wanted)) if **wanted == *element => {
                    self.list(items, Some(element));
                }
                None | Some(Type::Union(_) | Type::Named(_))
                    if inferred(items).as_ref() == Some(element) =>
                {
                    self.list(items, None);
                }
                _ => self.annotated_list(element, items),
            },
            Literal::Tuple(items) => {
                if declared.is_some_and(Type::is_tensor) {
                    return self.annotated("Any", literal, &Type::Any);
                }
                let elements = declared.and_then(Type::elements).unwrap_or_default();
                self.out.push('(');
                for (index, item) in items.iter().enumerate() {
                    self.comma(index);
                    self.literal(item, elements.get(index));
                }
                self.out.push(')');
            }
            Literal::Dict(types, entries) => match declared {
                Some(Type::Dict(declared)) if declared == types => {
                    self.dict(entries, Some(types));
                }
                None | Some(Type::Union(_) | Type::Named(_))
                    if entries_inferred(entries).as_ref() == Some(&**types) =>
                {
                    self.dict(entries, None);
                }
                _ => {
                    self.put(format_args!("annotate(Dict[{}, {}], ", types.0, types.1));
                    self.dict(entries, Some(types));
                    self.out.push(')');
                }
            },
            Literal::Packed(packed) => self.packed(packed),
            Literal::Object(object) => {
                self.out.push_str("object<");
                self.name(object.class.as_str(), true);
                self.out.push_str(">{");
                for (index, (field, value)) in object.fields.iter().enumerate() {
                    self.comma(index);
                    self.name(field.as_str(), false);
                    self.out.push_str(" = ");
                    self.literal(value, None);
                }
                self.out.push('}');
            }
            Literal::Function(name) => {
                self.out.push_str("function<");
                self.name(name.as_str(), true);
                self.out.push('>');
            }
            Literal::Opaque => self.out.push_str(match declared {
                Some(Type::Tensor(_)) => "<Tensor>",
                Some(Type::List(element)) if element.is_tensor() => "[<Tensors>]",
                _ => "<Opaque>",
            }),
        }
    }

    /// Appends a name; `dotted` where names with dots are read.
    pub(super) fn name(&mut self, name: &str, dotted: bool) {
        self.out.push_str(&name_or_quoted(name, dotted));
    }

    fn annotated(&mut self, spelled: &str, literal: &Literal, ty: &Type) {
        self.put(format_args!("annotate({spelled}, "));
        self.literal(literal, Some(ty));
        self.out.push(')');
    }

    fn annotated_list(&mut self, element: &Type, items: &[Literal]) {
        self.put(format_args!("annotate(List[{element}], "));
        self.list(items, Some(element));
        self.out.push(')');
    }

    fn list(&mut self, items: &[Literal], element: Option<&Type>) {
        self.out.push('[');
        for (index, item) in items.iter().enumerate() {
            self.comma(index);
            self.literal(item, element);
        }
        self.out.push(']');
    }

    fn dict(&mut self, entries: &[(Literal, Literal)], types: Option<&(Type, Type)>) {
        self.out.push('{');
        for (index, (key, value)) in entries.iter().enumerate() {
            self.comma(index);
            self.literal(key, types.map(|types| &types.0));
            self.out.push_str(": ");
            self.literal(value, types.map(|types| &types.1));
        }
        self.out.push('}');
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.out.push_str(", ");
        }
    }

    fn float(&self, value: f64) -> String {
        match self.style {
            Style::Faithful => precise(value),
            Style::Canonical => shortest(value),
        }
    }

    /// Appends `dense<…>[…]`, or `dense<…>@name` for a tensor that is to stand outside.
    fn tensor(&mut self, tensor: &Tensor) {
        let (dtype, shape) = (tensor.dtype(), tensor.shape());
        let mut parts: Vec<String> = shape.iter().map(ToString::to_string).collect();
        // Strides that leave gaps are a view of something larger, of which only the elements are kept.
        let span = reach(shape, tensor.strides()).filter(|span| *span <= tensor.numel());
        let strides = span.filter(|_| !tensor.is_contiguous());
        if strides.is_some() {
            let strides: Vec<String> = tensor.strides().iter().map(ToString::to_string).collect();
            parts.push(format!("strides=[{}]", strides.join(", ")));
        }
        self.put(format_args!("dense<{dtype}({})", parts.join(", ")));
        match tensor.qparams() {
            None => {}
            Some(QParams::PerTensor { scale, zero_point }) => {
                let scale = shortest(*scale);
                self.put(format_args!(", scale={scale}, zero_point={zero_point}"));
            }
            Some(QParams::PerChannel {
                scales,
                zero_points,
                axis,
            }) => {
                let scales = scales.iter().map(|scale| shortest(*scale));
                let zero_points = zero_points.iter().map(ToString::to_string);
                let scales: Vec<String> = scales.collect();
                let zero_points: Vec<String> = zero_points.collect();
                self.channels(&scales, &zero_points, *axis);
            }
            Some(QParams::PerChannelFloat {
                scales,
                zero_points,
                axis,
            }) => {
                let spelled = |value: &f32| shortest(f64::from(*value));
                let zero_points = zero_points.iter().map(spelled);
                let scales = scales.iter().map(spelled);
                let scales: Vec<String> = scales.collect();
                let zero_points: Vec<String> = zero_points.collect();
                self.channels(&scales, &zero_points, *axis);
            }
        }
        self.out.push('>');
        let stored = match strides {
            Some(span) => {
                let start = tensor.offset() as usize * dtype.size();
                tensor.storage().slice(start..start + span * dtype.size())
            }
            None => tensor.bytes(),
        };
        if let Some(name) = self.outside(tensor.numel(), stored) {
            self.out.push('@');
            self.out.push_str(&name);
            return;
        }
        let elements = tensor.bytes();
        self.out.push('[');
        for (index, element) in elements.chunks_exact(dtype.size()).enumerate() {
            self.comma(index);
            self.out.push_str(&decode(dtype, element));
        }
        self.out.push(']');
    }

    fn channels(&mut self, scales: &[String], zero_points: &[String], axis: usize) {
        self.put(format_args!(
            ", scale=[{}], zero_point=[{}], axis={axis}",
            scales.join(", "),
            zero_points.join(", ")
        ));
    }

    fn packed(&mut self, packed: &PackedParams) {
        self.out.push_str("pack<");
        match &packed.kind {
            PackedKind::Linear => self.out.push_str("linear"),
            PackedKind::LinearFp16 => self.out.push_str("linear_fp16"),
            PackedKind::Embedding => self.out.push_str("embedding"),
            PackedKind::Conv(geometry) => {
                let transposed = if geometry.transposed {
                    "_transpose"
                } else {
                    ""
                };
                self.put(format_args!("conv{transposed}{}d", geometry.stride.len()));
                for (name, values) in [
                    ("stride", &geometry.stride),
                    ("padding", &geometry.padding),
                    ("dilation", &geometry.dilation),
                    ("output_padding", &geometry.output_padding),
                ] {
                    self.put(format_args!(", {name}={:?}", values.as_slice()));
                }
                self.put(format_args!(", groups={}", geometry.groups));
            }
        }
        self.out.push_str(">(");
        self.tensor(&packed.weight);
        self.out.push_str(", ");
        match &packed.bias {
            Some(bias) => self.tensor(bias),
            None => self.out.push_str("None"),
        }
        self.out.push(')');
    }
}

/// The element type that reading these items without a declared one gives; `None` when reading would change them.
fn inferred(items: &[Literal]) -> Option<Type> {
    let ints = items.iter().any(|item| matches!(item, Literal::Int(_)));
    let floats = items.iter().any(|item| matches!(item, Literal::Float(_)));
    (!(ints && floats)).then(|| same_type(items))
}

/// Likewise the types of keys and values.
fn entries_inferred(entries: &[(Literal, Literal)]) -> Option<(Type, Type)> {
    let (keys, values): (Vec<_>, Vec<_>) = entries.iter().cloned().unzip();
    inferred(&keys).zip(inferred(&values))
}
