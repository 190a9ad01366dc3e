//! Tensors with their elements, and packed weights.
//!
//! PyTorch's text has no form for the elements of a tensor; these forms are planish's own:
//!
//! ```text
//! dense<Float(2, 3)>[0.5, 1., -2., 0., 0., 3.]
//! dense<QInt8(2, 2), scale=0.5, zero_point=0>[1, -2, 3, 4]
//! dense<QInt8(2, 2), scale=[0.5, 0.25], zero_point=[0, 0], axis=0>[1, -2, 3, 4]
//! dense<Float(64, 64)>@name
//! random<Float(8, 3), seed=1, low=-1., high=1.>
//! pack<conv2d, stride=[1, 1], padding=[0, 0], dilation=[1, 1], output_padding=[0, 0], groups=1>(dense<…>[…], None)
//! ```

use smallvec::SmallVec;

use crate::text::cursor::{Parse, Parser};
use crate::text::element;
use crate::text::lex::Kind;
use crate::text::random::fill;
use crate::{
    ConvGeometry, DType, Dims, Literal, PackedKind, PackedParams, QParams, Tensor, TensorError,
    Type, contiguous_strides,
};

/// Most elements that all `random<…>` of a text make: a few bytes of text must not take all memory.
const MAX_ELEMENTS: i64 = 1 << 26;

/// Strides may spread elements over this many times the room that they need, for the same reason.
const SPREAD: i64 = 64;

/// What stands between the angle brackets of a tensor.
struct Header {
    dtype: DType,
    shape: Vec<i64>,
    strides: Dims,
    qparams: Option<QParams>,
    /// Further settings, such as `seed`.
    settings: Vec<(String, Literal)>,
}

impl Parser<'_> {
    /// `dense<…>[…]` or `dense<…>@name`.
    pub(super) fn dense(&mut self) -> Parse<Tensor> {
        let start = self.token.start;
        self.bump();
        let header = self.tensor_header()?;
        if let Some((name, _)) = header.settings.first() {
            let message = format!("`{name}` is no setting of `dense`");
            return Err(self.fault(start..self.token.start, message));
        }
        let made = if self.eat(b'@') {
            let at = self.token.span();
            let name = self.name_or_string("the name of a blob")?;
            let Some(blob) = self.blobs.get(&name) else {
                return Err(self.fault(at, format!("no blob is named `{name}`")));
            };
            Tensor::strided(
                header.dtype,
                &header.shape,
                &header.strides,
                0,
                blob.clone(),
            )
            .map_err(|error| format!("failed to {error}"))
        } else {
            self.elements(header.dtype)
                .map(|elements| place(&header, elements))?
        };
        self.finish(start, made, header.qparams)
    }

    /// `random<…>`: elements that a seed determines.
    pub(super) fn random(&mut self) -> Parse<Tensor> {
        let start = self.token.start;
        self.bump();
        let header = self.tensor_header()?;
        let (mut seed, mut low, mut high) = (0, None, None);
        for (name, value) in &header.settings {
            let number = value
                .as_float()
                .or_else(|| value.as_int().map(|value| value as f64));
            match (name.as_str(), value.as_int(), number) {
                ("seed", Some(value), _) => seed = value as u64,
                ("low", _, Some(value)) => low = Some(value),
                ("high", _, Some(value)) => high = Some(value),
                _ => {
                    let message = format!("`{name}` is no setting of `random` with such a value");
                    return Err(self.fault(start..self.token.start, message));
                }
            }
        }
        let count = header
            .shape
            .iter()
            .try_fold(1_i64, |count, size| count.checked_mul(*size));
        let left = MAX_ELEMENTS - self.made;
        let Some(count) = count.filter(|count| (0..=left).contains(count)) else {
            let message = format!("a text makes no more than {MAX_ELEMENTS} random elements");
            return Err(self.fault(start..self.token.start, message));
        };
        self.made += count;
        let Some(data) = fill(header.dtype, count as usize, seed, low, high) else {
            let message = format!(
                "no random elements of type {} between these bounds",
                header.dtype
            );
            return Err(self.fault(start..self.token.start, message));
        };
        let made = place(&header, data);
        self.finish(start, made, header.qparams)
    }

    /// `pack<…>(weight, bias)`.
    pub(super) fn packed(&mut self) -> Parse<PackedParams> {
        let start = self.token.start;
        self.bump();
        self.expect(b'<')?;
        let span = self.token.span();
        let name = self.expect_name("`linear`, `conv2d`, …")?;
        let mut geometry = Vec::new();
        while self.eat(b',') {
            let setting = self.expect_name("a setting")?;
            self.expect(b'=')?;
            geometry.push((setting, self.literal(None)?));
        }
        self.expect(b'>')?;
        let Some(kind) = packed_kind(name, &geometry) else {
            return Err(self.fault(
                span.start..self.token.start,
                "expected `linear`, `linear_fp16`, `embedding`, or a convolution with the settings stride, padding, dilation, output_padding and groups",
            ));
        };
        self.expect(b'(')?;
        let weight = self.literal(Some(&Type::TENSOR))?;
        self.expect(b',')?;
        let bias = self.literal(Some(&Type::TENSOR))?;
        self.eat(b',');
        self.expect(b')')?;
        let bias = match bias {
            Literal::None => None,
            Literal::Tensor(bias) => Some(bias),
            _ => return Err(self.fault(start..self.token.start, "the bias has no elements")),
        };
        let Literal::Tensor(weight) = weight else {
            return Err(self.fault(start..self.token.start, "the weight has no elements"));
        };
        Ok(PackedParams { kind, weight, bias })
    }

    /// `<TYPE, name=value, …>`.
    fn tensor_header(&mut self) -> Parse<Header> {
        self.expect(b'<')?;
        let span = self.token.span();
        let ty = self.ty()?;
        let Type::Tensor(Some(known)) = &ty else {
            return Err(self.fault(span, "expected the type of a tensor with its sizes"));
        };
        let shape: Option<Vec<i64>> = known
            .dims
            .as_ref()
            .and_then(|dims| dims.iter().copied().collect());
        let (Some(dtype), Some(shape)) = (known.dtype, shape) else {
            return Err(self.fault(span, format!("`{ty}` leaves something of the tensor open")));
        };
        let strides = match &known.strides {
            None => contiguous_strides(&shape),
            Some(strides) => match strides.iter().copied().collect::<Option<Dims>>() {
                Some(strides) => strides,
                None => return Err(self.fault(span, format!("`{ty}` leaves a stride open"))),
            },
        };
        let mut settings = Vec::new();
        let (mut scale, mut zero_point, mut axis) = (None, None, None);
        while self.eat(b',') {
            let name = self.expect_name("a setting")?;
            self.expect(b'=')?;
            match name {
                "scale" => scale = Some(self.literal(None)?),
                "zero_point" => zero_point = Some(self.literal(None)?),
                "axis" => axis = Some(self.literal(Some(&Type::Int))?),
                _ => settings.push((name.to_owned(), self.literal(None)?)),
            }
        }
        self.expect(b'>')?;
        let qparams = match (scale, zero_point, axis) {
            (None, None, None) => None,
            (scale, zero_point, axis) => {
                let Some(found) = qparams(scale, zero_point, axis) else {
                    return Err(self.fault(
                        span,
                        "a scale and a zero point are given for the tensor, or lists of them with an axis",
                    ));
                };
                Some(found)
            }
        };
        Ok(Header {
            dtype,
            shape,
            strides,
            qparams,
            settings,
        })
    }

    /// `[1, 2, …]` as bytes.
    fn elements(&mut self, dtype: DType) -> Parse<Vec<u8>> {
        self.expect(b'[')?;
        let mut bytes = Vec::new();
        self.list(b']', |p| {
            let span = p.token.span();
            if !matches!(p.token.kind, Kind::Number | Kind::Name) {
                return Err(p.unexpected("an element"));
            }
            p.bump();
            let text = &p.text[span.clone()];
            // `0.+2.j` is two numbers without a blank between them.
            let mut imaginary = None;
            if p.token.kind == Kind::Number && p.token.start == span.end {
                imaginary = Some(p.current());
                p.bump();
            }
            if element::encode(dtype, text, imaginary, &mut bytes).is_some() {
                return Ok(());
            }
            let text = format!("{text}{}", imaginary.unwrap_or_default());
            Err(p.fault(span, format!("`{text}` is no {dtype}")))
        })?;
        Ok(bytes)
    }

    fn finish(
        &mut self,
        start: usize,
        made: Result<Tensor, String>,
        qparams: Option<QParams>,
    ) -> Parse<Tensor> {
        let made = made.and_then(|tensor| match qparams {
            Some(qparams) => tensor
                .with_qparams(qparams)
                .map_err(|error| format!("failed to {error}")),
            None if tensor.dtype().is_quantized() => {
                Err("a quantized tensor wants `scale` and `zero_point`".to_owned())
            }
            None => Ok(tensor),
        });
        made.map_err(|message| self.fault(start..self.token.start, message))
    }
}

fn qparams(
    scale: Option<Literal>,
    zero_point: Option<Literal>,
    axis: Option<Literal>,
) -> Option<QParams> {
    let number = |literal: &Literal| {
        literal
            .as_float()
            .or_else(|| literal.as_int().map(|value| value as f64))
    };
    match (scale?, zero_point?, axis) {
        // Zero points that are floats tell the two kinds apart.
        (Literal::List(_, scales), Literal::List(_, zero_points), Some(axis))
            if zero_points.first().is_some_and(|z| z.as_float().is_some()) =>
        {
            let narrow = |literal| number(literal).map(|value| value as f32);
            Some(QParams::PerChannelFloat {
                scales: scales.iter().map(narrow).collect::<Option<_>>()?,
                zero_points: zero_points.iter().map(narrow).collect::<Option<_>>()?,
                axis: usize::try_from(axis.as_int()?).ok()?,
            })
        }
        (Literal::List(_, scales), zero_points, Some(axis)) => Some(QParams::PerChannel {
            scales: scales.iter().map(number).collect::<Option<_>>()?,
            zero_points: zero_points.as_ints()?.into(),
            axis: usize::try_from(axis.as_int()?).ok()?,
        }),
        (scale, zero_point, None) => Some(QParams::PerTensor {
            scale: number(&scale)?,
            zero_point: zero_point.as_int()?,
        }),
        _ => None,
    }
}

/// The kind that a name such as `conv_transpose2d` and its settings give.
fn packed_kind(name: &str, settings: &[(&str, Literal)]) -> Option<PackedKind> {
    let dims = match name {
        "linear" | "linear_fp16" | "embedding" if !settings.is_empty() => return None,
        "linear" => return Some(PackedKind::Linear),
        "embedding" => return Some(PackedKind::Embedding),
        "linear_fp16" => return Some(PackedKind::LinearFp16),
        "conv1d" | "conv_transpose1d" => 1,
        "conv2d" | "conv_transpose2d" => 2,
        "conv3d" | "conv_transpose3d" => 3,
        _ => return None,
    };
    let find = |wanted: &str| {
        let mut found = settings.iter().filter(|(name, _)| *name == wanted);
        found.next().map(|(_, value)| value)
    };
    let ints = |wanted: &str| -> Option<SmallVec<[i64; 3]>> {
        let values = find(wanted)?.as_ints()?;
        (values.len() == dims).then(|| values.into())
    };
    if settings.len() != 5 {
        return None;
    }
    Some(PackedKind::Conv(ConvGeometry {
        stride: ints("stride")?,
        padding: ints("padding")?,
        dilation: ints("dilation")?,
        output_padding: ints("output_padding")?,
        groups: find("groups")?.as_int()?,
        transposed: name.starts_with("conv_transpose"),
    }))
}

/// Elements from the first to the last that a view reaches; `None` when they are far more than there are elements.
pub(super) fn reach(shape: &[i64], strides: &[i64]) -> Option<usize> {
    if shape.len() != strides.len() || shape.iter().chain(strides).any(|size| *size < 0) {
        return None;
    }
    let mut count = 1_i64;
    let mut last = 0_i64;
    for (size, stride) in shape.iter().zip(strides) {
        count = count.checked_mul(*size)?;
        last = last.checked_add((size - 1).max(0).checked_mul(*stride)?)?;
    }
    if count == 0 {
        return Some(0);
    }
    let most = count.checked_mul(SPREAD)?.checked_add(SPREAD)?;
    (last < most).then_some(last as usize + 1)
}

/// The tensor whose elements, in logical order, are `elements`.
fn place(header: &Header, elements: Vec<u8>) -> Result<Tensor, String> {
    let (shape, strides, size) = (&header.shape, &header.strides, header.dtype.size());
    let wanted = shape
        .iter()
        .try_fold(size, |wanted, size| {
            wanted.checked_mul(usize::try_from(*size).ok()?)
        })
        .ok_or_else(|| format!("{shape:?} is no shape"))?;
    if elements.len() != wanted {
        let found = elements.len() / size;
        return Err(format!("{found} elements do not fill the shape {shape:?}"));
    }
    let failed = |error: TensorError| format!("failed to {error}");
    if *strides == contiguous_strides(shape) {
        return Tensor::new(header.dtype, shape, elements).map_err(failed);
    }
    let Some(reach) = reach(shape, strides) else {
        return Err(format!(
            "the strides {strides:?} do not suit the shape {shape:?}"
        ));
    };
    // The view of nothing tells where each element belongs.
    let mut storage = vec![0; reach * size];
    let view = Tensor::strided(header.dtype, shape, strides, 0, storage.clone()).map_err(failed)?;
    for (element, at) in elements.chunks_exact(size).zip(view.element_offsets()) {
        let at = at as usize * size;
        storage[at..at + size].copy_from_slice(element);
    }
    Tensor::strided(header.dtype, shape, strides, 0, storage).map_err(failed)
}
