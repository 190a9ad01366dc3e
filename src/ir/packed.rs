//! Weights packed for quantized operators: what `quantized::conv2d_prepack` and its kin return.

use smallvec::SmallVec;

use crate::{Sym, Tensor};

/// A weight, its bias and its geometry, as one value.
///
/// This is the *meaning* of a packed weight: the weight in its logical layout. How a kernel wants the bytes ordered is decided when the
/// kernel is chosen, and belongs to the artefact.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedParams {
    /// Operator family.
    pub kind: PackedKind,
    /// Weight: `[out, in]` for linear, `[out, in / groups, k…]` for convolutions, `[in, out / groups, k…]` for transposed ones. Codes
    /// (`QInt8`) with their scales, or `Half`/`Float` for [`PackedKind::LinearFp16`]. A table `[rows, columns]` of `QUInt8` or `QUInt4x2`
    /// codes with [`QParams::PerChannelFloat`](crate::QParams::PerChannelFloat) on axis 0 for [`PackedKind::Embedding`].
    pub weight: Tensor,
    /// Bias (`Float`, one value for each output channel).
    pub bias: Option<Tensor>,
}

/// The operator family of a packed weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackedKind {
    /// `quantized::linear` and `quantized::linear_dynamic`.
    Linear,
    /// `quantized::linear_dynamic_fp16`.
    LinearFp16,
    /// A convolution over 1, 2 or 3 spatial dimensions.
    Conv(ConvGeometry),
    /// A table of embeddings: `quantized::embedding_byte`, `quantized::embedding_bag_4bit` and their kin.
    Embedding,
}

/// The geometry of a convolution; every list has one entry for each spatial dimension.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Strides.
    pub stride: SmallVec<[i64; 3]>,
    /// Zeros added on both sides.
    pub padding: SmallVec<[i64; 3]>,
    /// Distances between taps.
    pub dilation: SmallVec<[i64; 3]>,
    /// Rows added on one side of the output (transposed convolutions).
    pub output_padding: SmallVec<[i64; 3]>,
    /// Groups of channels that do not mix.
    pub groups: i64,
    /// Whether this is a transposed convolution.
    pub transposed: bool,
}

impl PackedParams {
    /// The torchbind class that PyTorch gives such a value. One spatial dimension is stored in the class of two.
    pub fn class(&self) -> Sym {
        Sym::new(match &self.kind {
            PackedKind::Linear | PackedKind::LinearFp16 => {
                "__torch__.torch.classes.quantized.LinearPackedParamsBase"
            }
            PackedKind::Conv(geometry) if geometry.stride.len() == 3 => {
                "__torch__.torch.classes.quantized.Conv3dPackedParamsBase"
            }
            PackedKind::Conv(_) => "__torch__.torch.classes.quantized.Conv2dPackedParamsBase",
            PackedKind::Embedding => "__torch__.torch.classes.quantized.EmbeddingPackedParamsBase",
        })
    }

    /// The geometry, for a convolution.
    pub fn geometry(&self) -> Option<&ConvGeometry> {
        match &self.kind {
            PackedKind::Conv(geometry) => Some(geometry),
            PackedKind::Linear | PackedKind::LinearFp16 | PackedKind::Embedding => None,
        }
    }
}
