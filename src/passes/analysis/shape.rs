//! What is known of a tensor's sizes from what computes it.

use std::cell::Cell;

use planish_ir::{Graph, Literal, Tensor, Use, ValueId};

use super::alias::Aliases;

/// Reads the sizes of tensors off a graph.
pub(crate) struct Shapes<'g> {
    graph: &'g Graph,
    aliases: &'g Aliases,
    /// Operators that may still be looked at: far enough for the networks that there are.
    left: Cell<usize>,
    /// Whether a convolution was taken to be one of a batch.
    presumed: Cell<bool>,
}

impl<'g> Shapes<'g> {
    /// For one question.
    pub(crate) fn of(graph: &'g Graph, aliases: &'g Aliases) -> Self {
        const MOST: usize = 256;
        let left = Cell::new(MOST);
        Self {
            graph,
            aliases,
            left,
            presumed: Cell::new(false),
        }
    }

    /// How many dimensions a tensor has, when what made it says so.
    pub(crate) fn rank(&self, tensor: ValueId) -> Option<i64> {
        self.stays(tensor)?;
        if let Some(constant) = self.constant(tensor) {
            return Some(constant.shape().len() as i64);
        }
        let (op, inputs) = self.maker(tensor)?;
        match op.strip_prefix("quantized::").unwrap_or(op) {
            "conv1d" | "conv1d_relu" | "conv_transpose1d" => self.batch(op, 3),
            "conv2d" | "conv2d_relu" | "conv_transpose2d" => self.batch(op, 4),
            "conv3d" | "conv3d_relu" | "conv_transpose3d" => self.batch(op, 5),
            _ if self.keeps_sizes(op, inputs) || POOLS.contains(&op) => self.rank(*inputs.first()?),
            // The smaller one is broadcast to the larger one.
            "add" | "add_relu" | "mul" | "mul_relu" => {
                let other = self.rank(*inputs.get(1)?)?;
                Some(self.rank(*inputs.first()?)?.max(other))
            }
            // Joining ignores tensors of one dimension without elements; none of more dimensions is.
            "cat" | "cat_relu" => self.rank(*self.list(*inputs.first()?)?.first()?),
            "aten::reshape" | "aten::view" => Some(self.list(*inputs.get(1)?)?.len() as i64),
            "prim::ListUnpack" => self.rank(*self.chunked(*inputs.first()?)?.first()?),
            _ => None,
        }
    }

    /// A tensor's size in one dimension, counted from the last when negative, when it is the same on every run.
    ///
    /// That of a single image would be the size of another dimension: what is said of a convolution holds if a program that is given one
    /// fails, since it reads the last of a batch's dimensions.
    pub(crate) fn known_size(&self, tensor: ValueId, dim: i64) -> Option<i64> {
        let size = self.size(tensor, dim)?;
        (!self.presumed.get() || self.is_read_as_batch(tensor)).then_some(size)
    }

    fn size(&self, tensor: ValueId, dim: i64) -> Option<i64> {
        let dim = self.counted_back(tensor, dim)?;
        self.stays(tensor)?;
        if let Some(constant) = self.constant(tensor) {
            return at(constant.shape(), dim).copied();
        }
        let (op, inputs) = self.maker(tensor)?;
        let first = *inputs.first()?;
        match op.strip_prefix("quantized::").unwrap_or(op) {
            _ if self.keeps_sizes(op, inputs) => self.size(first, dim),
            _ if POOLS.contains(&op) => (dim < -2).then(|| self.size(first, dim))?,
            "conv1d" | "conv1d_relu" => self.channels(inputs, dim, -2),
            "conv2d" | "conv2d_relu" => self.channels(inputs, dim, -3),
            "conv3d" | "conv3d_relu" => self.channels(inputs, dim, -4),
            "linear" | "linear_relu" | "linear_dynamic" | "linear_dynamic_fp16" => {
                self.channels(inputs, dim, -1)
            }
            "aten::embedding" if dim == -1 => self.size(first, dim),
            "aten::unsqueeze" => {
                let before_all = self.int(*inputs.get(1)?)? == 0;
                before_all.then(|| self.size(first, dim))?
            }
            "aten::reshape" | "aten::view" => {
                let size = self.int(*at(self.list(*inputs.get(1)?)?, dim)?)?;
                (size >= 0).then_some(size)
            }
            "cat" | "cat_relu" => {
                let list = self.list(first)?;
                let joined = self.counted_back(*list.first()?, self.int(*inputs.get(1)?)?)?;
                if joined != dim {
                    return self.size(*list.first()?, dim);
                }
                list.iter().map(|part| self.size(*part, dim)).sum()
            }
            "prim::ListUnpack" => self.part(tensor, first, dim),
            "prim::If" => self.either(tensor, dim),
            _ => None,
        }
    }

    /// Whether a tensor, where it is computed, is always asked for its last size, counted from the first, or for exactly its sizes.
    fn is_read_as_batch(&self, tensor: ValueId) -> bool {
        let (Some(rank), Some(maker)) = (self.rank(tensor), self.graph.producer(tensor)) else {
            return false;
        };
        let block = self.graph.block_of(maker);
        let readers = |value: ValueId| {
            let uses = self.graph.value(value).uses().iter();
            let nodes = uses.filter_map(|at| match at {
                Use::Input(node, _) => Some(*node),
                Use::Result(..) => None,
            });
            nodes.filter(|node| self.graph.block_of(*node) == block)
        };
        let sizes = readers(tensor).map(|id| self.graph.node(id));
        let mut sizes = sizes.filter(|node| node.op().is("aten::size"));
        sizes.any(|node| {
            let mut read = readers(node.outputs()[0]).map(|id| self.graph.node(id));
            match node.inputs() {
                [_, dim] => read.next().is_some() && self.int(*dim) == Some(rank - 1),
                _ => read.any(|reader| {
                    reader.op().is("prim::ListUnpack") && reader.outputs().len() as i64 == rank
                }),
            }
        })
    }

    /// Whether an operator's output has the sizes of its first input. Bounds that are tensors may be larger than what they clamp.
    fn keeps_sizes(&self, op: &str, inputs: &[ValueId]) -> bool {
        let is_tensor = |bound: &ValueId| self.graph.ty(*bound).unwrap_optional().is_tensor();
        let clamps = op == "aten::clamp";
        KEEPS_SIZES.contains(&op) && !(clamps && inputs.iter().skip(1).any(is_tensor))
    }

    /// A dimension as it is counted from the last one.
    fn counted_back(&self, tensor: ValueId, dim: i64) -> Option<i64> {
        if dim < 0 {
            return Some(dim);
        }
        let rank = self.rank(tensor)?;
        (dim < rank).then_some(dim - rank)
    }

    /// Quantized convolutions take batches alone in PyTorch; those of floats take a single image too. What was fused here takes one as well,
    /// and its rank is still said to be a batch's: else every norm and pool of a scripted network keeps the check of its input.
    fn batch(&self, op: &str, rank: i64) -> Option<i64> {
        self.presumed.set(true);
        op.starts_with("quantized::").then_some(rank)
    }

    /// What a weighted operator makes along its dimension of channels: as many as its packed weight has.
    fn channels(&self, inputs: &[ValueId], dim: i64, channels: i64) -> Option<i64> {
        if dim != channels {
            return None;
        }
        let packed = *inputs.get(1)?;
        let weight = match self.graph.constant(packed) {
            Some(Literal::Packed(packed)) => &packed.weight,
            Some(_) => return None,
            None => {
                let (op, inputs) = self.maker(packed)?;
                if !op.ends_with("_prepack") && op != "quantized::linear_prepack_fp16" {
                    return None;
                }
                self.constant(*inputs.first()?)?
            }
        };
        weight.shape().first().copied()
    }

    /// The size of a part of a tensor that was taken apart.
    fn part(&self, part: ValueId, list: ValueId, dim: i64) -> Option<i64> {
        let &[whole, parts, along] = self.chunked(list)? else {
            return None;
        };
        let size = self.size(whole, dim)?;
        if self.counted_back(whole, self.int(along)?)? != dim {
            return Some(size);
        }
        let parts = self.int(parts)?;
        if size < 1 || parts < 1 {
            return None;
        }
        let unpacked = self.graph.node(self.graph.producer(part)?);
        let index = unpacked
            .outputs()
            .iter()
            .position(|output| *output == part)?;
        // All parts but the last are equally large.
        let large = (size - 1) / parts + 1;
        let rest = size - large * i64::try_from(index).ok()?;
        (rest > 0).then_some(rest.min(large))
    }

    /// The size that a value has whichever branch computes it.
    fn either(&self, value: ValueId, dim: i64) -> Option<i64> {
        let node = self.graph.node(self.graph.producer(value)?);
        let index = node.outputs().iter().position(|output| *output == value)?;
        let mut sizes = node.blocks().iter().map(|block| {
            let results = self.graph.block(*block).results();
            self.size(*results.get(index)?, dim)
        });
        let size = sizes.next()??;
        sizes.all(|other| other == Some(size)).then_some(size)
    }

    /// `None` when something writes to a tensor or a list: in-place forms of `unsqueeze` and its kin change the sizes.
    fn stays(&self, value: ValueId) -> Option<()> {
        (!self.aliases.is_written(value)).then_some(())
    }

    /// The constant that a tensor is.
    fn constant(&self, tensor: ValueId) -> Option<&'g Tensor> {
        self.graph.constant(tensor).and_then(Literal::as_tensor)
    }

    /// What makes a value, by its name, and of what.
    fn maker(&self, value: ValueId) -> Option<(&'static str, &'g [ValueId])> {
        self.left.set(self.left.get().checked_sub(1)?);
        let node = self.graph.node(self.graph.producer(value)?);
        Some((node.op().name().as_str(), node.inputs()))
    }

    /// The elements of a list.
    fn list(&self, list: ValueId) -> Option<&'g [ValueId]> {
        self.stays(list)?;
        made_by(self.graph, list, "prim::ListConstruct")
    }

    /// What a list of parts was made of: a tensor, how many parts, and along which dimension.
    fn chunked(&self, list: ValueId) -> Option<&'g [ValueId]> {
        self.stays(list)?;
        made_by(self.graph, list, "aten::chunk")
    }

    fn int(&self, value: ValueId) -> Option<i64> {
        self.graph.constant(value)?.as_int()
    }
}

/// The operands of the operator that made a value, when it is this one.
pub(crate) fn made_by<'g>(graph: &'g Graph, value: ValueId, op: &str) -> Option<&'g [ValueId]> {
    let producer = graph.node(graph.producer(value)?);
    producer.op().is(op).then(|| producer.inputs())
}

/// The element at an index that counts from the last.
fn at<T>(elements: &[T], from_last: i64) -> Option<&T> {
    let index = elements.len() as i64 + from_last;
    elements.get(usize::try_from(index).ok()?)
}

/// Operators whose output has the sizes of their first input.
const KEEPS_SIZES: [&str; 17] = [
    "aten::quantize_per_tensor",
    "aten::dequantize",
    "aten::contiguous",
    "aten::relu",
    "aten::clamp",
    "aten::hardtanh",
    "aten::sigmoid",
    "aten::tanh",
    "aten::hardsigmoid",
    "aten::leaky_relu",
    "quantized::batch_norm",
    "quantized::batch_norm_relu",
    "quantized::batch_norm2d",
    "quantized::batch_norm2d_relu",
    "quantized::hardswish",
    "quantized::leaky_relu",
    "quantized::elu",
];

/// Operators that change the last two dimensions alone.
const POOLS: [&str; 3] = [
    "aten::max_pool2d",
    "aten::avg_pool2d",
    "aten::adaptive_avg_pool2d",
];
