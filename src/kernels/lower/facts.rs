//! What is known of the values of a graph before it runs.

use planish_ir::{
    DType, Graph, GraphModule, Literal, ModuleId, NodeId, SecondaryMap, Sym, Type, ValueId,
};

/// What is known of a tensor's codes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Codes {
    /// Nothing, or that it has none.
    #[default]
    Unknown,
    /// Their type.
    Of(DType),
    /// That nobody reads it: it stands for the value of a branch that only raises an exception.
    Never,
}

impl Codes {
    /// What is known of a tensor that is one or the other.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, known) | (known, Self::Never) => known,
            (one, other) if one == other => one,
            _ => Self::Unknown,
        }
    }

    fn of(dtype: Option<DType>) -> Self {
        dtype.map_or(Self::Unknown, Self::Of)
    }
}

/// What is known of the values of a graph.
pub(super) struct Facts<'a> {
    module: &'a GraphModule,
    graph: &'a Graph,
    objects: SecondaryMap<ValueId, Option<ModuleId>>,
    codes: SecondaryMap<ValueId, Codes>,
    /// Names of attributes that the graph assigns: what they hold is not known.
    written: Vec<Sym>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(module: &'a GraphModule, graph: &'a Graph) -> Self {
        let mut facts = Self {
            module,
            graph,
            objects: SecondaryMap::new(),
            codes: SecondaryMap::new(),
            written: written(graph),
        };
        // A graph on its own, without a module, has no such parameter.
        let is_module = |this: &&ValueId| matches!(graph.ty(**this), Type::Class(_) | Type::Any);
        if let Some(this) = graph.params().first().filter(is_module) {
            facts.objects[*this] = Some(module.root());
        }
        let mut open = Vec::new();
        for id in graph.walk() {
            facts.close_blocks(&mut open, id);
            facts.node(id);
            open.extend(graph.node(id).blocks().first().map(|_| id));
        }
        while let Some(id) = open.pop() {
            facts.join_blocks(id);
        }
        facts
    }

    /// Element type of a tensor, when it is known; quantized types only.
    pub(super) fn dtype(&self, value: ValueId) -> Option<DType> {
        match self.codes[value] {
            Codes::Of(dtype) => Some(dtype),
            Codes::Unknown | Codes::Never => None,
        }
    }

    /// The value, when it is a constant, an attribute, or a list of such.
    pub(super) fn literal(&self, value: ValueId) -> Option<Literal> {
        if let Some(literal) = self.graph.constant(value) {
            return (!literal.is_opaque()).then(|| literal.clone());
        }
        let node = self.graph.node(self.graph.producer(value)?);
        match node.op().name().as_str() {
            "prim::GetAttr" => {
                let object = self.objects[*node.inputs().first()?]?;
                let name = node.name_attr()?;
                if self.written.contains(&name) {
                    return None;
                }
                self.module.module(object).attrs.get(&name).cloned()
            }
            "prim::ListConstruct" => {
                let elements = node
                    .inputs()
                    .iter()
                    .map(|input| self.literal(*input))
                    .collect::<Option<Vec<_>>>()?;
                let element = self.graph.ty(value).element()?.clone();
                Some(Literal::List(element, elements.into()))
            }
            _ => None,
        }
    }

    /// Sizes of a weight, which may still be on its way through quantization.
    pub(super) fn weight_shape(&self, value: ValueId) -> Option<Vec<i64>> {
        if let Some(Literal::Tensor(tensor)) = self.literal(value) {
            return Some(tensor.shape().to_vec());
        }
        let node = self.graph.node(self.graph.producer(value)?);
        let quantize = ["aten::quantize_per_tensor", "aten::quantize_per_channel"];
        if quantize.iter().any(|name| node.op().is(name)) {
            self.weight_shape(*node.inputs().first()?)
        } else {
            None
        }
    }

    /// The ints of a constant list; one int stands for `len` of it.
    pub(super) fn ints(&self, value: ValueId, len: usize) -> Option<Vec<i64>> {
        match self.literal(value)? {
            Literal::Int(one) => Some(vec![one; len]),
            list => list.as_ints().map(|ints| {
                if ints.len() == 1 {
                    vec![ints[0]; len]
                } else {
                    ints
                }
            }),
        }
    }

    /// A branch's or loop's outputs are known when all blocks that enclose them have been walked.
    fn close_blocks(&mut self, open: &mut Vec<NodeId>, next: NodeId) {
        while let Some(id) = open.last().copied() {
            let inside = self
                .graph
                .node(id)
                .blocks()
                .iter()
                .any(|block| self.is_inside(next, *block));
            if inside {
                return;
            }
            open.pop();
            self.join_blocks(id);
        }
    }

    fn is_inside(&self, node: NodeId, block: planish_ir::BlockId) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            let around = self.graph.block_of(node);
            if around == block {
                return true;
            }
            at = self.graph.block(around).parent();
        }
        false
    }

    fn join_blocks(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let skip = usize::from(node.op().is("prim::Loop"));
        for (index, output) in node.outputs().iter().enumerate() {
            let of_blocks = node.blocks().iter().map(|block| {
                let results = self.graph.block(*block).results();
                results
                    .get(index + skip)
                    .map_or(Codes::Unknown, |value| self.codes[*value])
            });
            self.codes[*output] = of_blocks.fold(Codes::Never, Codes::or);
        }
    }

    fn node(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        let name = node.op().name().as_str();
        let Some(output) = node.outputs().first().copied() else {
            return;
        };
        if name == "prim::GetAttr" {
            if let Some(object) = node.inputs().first().and_then(|this| self.objects[*this]) {
                let attr = node.str_attr("name").unwrap_or_default();
                self.objects[output] = self.module.submodule(object, Sym::new(attr));
            }
            self.codes[output] = Codes::of(self.literal(output).as_ref().and_then(quantized_dtype));
            return;
        }
        if name == "prim::Constant" {
            self.codes[output] = Codes::of(self.graph.constant(output).and_then(quantized_dtype));
            return;
        }
        if name == "prim::Loop" {
            // A carried value has the type it enters with; the blocks are checked against it when they have been walked.
            for (index, input) in node.inputs().iter().enumerate().skip(2) {
                if let Some(param) = node
                    .blocks()
                    .first()
                    .and_then(|body| self.graph.block(*body).params().get(index - 1))
                {
                    self.codes[*param] = self.codes[*input];
                }
            }
            return;
        }
        let of = |input: Option<&ValueId>| input.map_or(Codes::Unknown, |input| self.codes[*input]);
        let codes = match name {
            "aten::quantize_per_tensor" | "aten::quantize_per_channel" => {
                let dtype = node.inputs().last().and_then(|code| {
                    match self.literal(*code).as_ref().and_then(Literal::as_int) {
                        Some(code) => DType::from_code(code),
                        None => self.dtype_read_from(*code),
                    }
                });
                Codes::of(dtype)
            }
            "prim::Uninitialized" => Codes::Never,
            "prim::ListConstruct" | "prim::TupleConstruct" => {
                let elements = node.inputs().iter().map(|input| of(Some(input)));
                elements.reduce(Codes::or).unwrap_or_default()
            }
            _ if makes_floats(name) => Codes::Unknown,
            _ if name.starts_with("quantized::") || KEEPS_TYPE.contains(&name) => {
                // Operators of `quantized::` give codes of the type they are given.
                of(node.inputs().first())
            }
            _ => Codes::Unknown,
        };
        for output in node.outputs() {
            self.codes[*output] = codes;
        }
    }

    /// `prim::dtype(%x)`, as `quantize_per_tensor` is given it when it takes over the parameters of another tensor.
    fn dtype_read_from(&self, value: ValueId) -> Option<DType> {
        let node = self.graph.node(self.graph.producer(value)?);
        if node.op().is("prim::dtype") {
            self.dtype(*node.inputs().first()?)
        } else {
            None
        }
    }
}

/// Operators of `aten::` that give a tensor of the type they are given.
const KEEPS_TYPE: [&str; 85] = [
    "aten::relu",
    "aten::relu_",
    "aten::relu6",
    "aten::relu6_",
    "aten::clamp",
    "aten::clamp_",
    "aten::clamp_min",
    "aten::clamp_min_",
    "aten::clamp_max",
    "aten::clamp_max_",
    "aten::hardtanh",
    "aten::hardtanh_",
    "aten::sigmoid",
    "aten::tanh",
    "aten::hardsigmoid",
    "aten::hardsigmoid_",
    "aten::leaky_relu",
    "aten::leaky_relu_",
    "aten::max_pool1d",
    "aten::max_pool2d",
    "aten::max_pool3d",
    "aten::avg_pool1d",
    "aten::avg_pool2d",
    "aten::avg_pool3d",
    "aten::adaptive_avg_pool1d",
    "aten::adaptive_avg_pool2d",
    "aten::adaptive_avg_pool3d",
    "aten::mean",
    "aten::upsample_nearest1d",
    "aten::upsample_nearest2d",
    "aten::upsample_nearest3d",
    "aten::upsample_linear1d",
    "aten::upsample_bilinear2d",
    "aten::upsample_trilinear3d",
    "aten::feature_dropout",
    "aten::min",
    "aten::max",
    "aten::pad",
    "aten::constant_pad_nd",
    "aten::repeat_interleave",
    "aten::pixel_shuffle",
    "aten::pixel_unshuffle",
    "aten::index_select",
    "aten::expand_as",
    "aten::flip",
    "aten::movedim",
    "aten::moveaxis",
    "aten::numpy_T",
    "aten::reshape_as",
    "aten::roll",
    "aten::split_with_sizes",
    "aten::swapaxes",
    "aten::swapdims",
    "aten::tensor_split",
    "aten::tile",
    "aten::unbind",
    "aten::view_as",
    "aten::flatten",
    "aten::view",
    "aten::reshape",
    "aten::permute",
    "aten::transpose",
    "aten::t",
    "aten::squeeze",
    "aten::squeeze_",
    "aten::unsqueeze",
    "aten::unsqueeze_",
    "aten::contiguous",
    "aten::detach",
    "aten::alias",
    "aten::unflatten",
    "aten::slice",
    "aten::select",
    "aten::narrow",
    "aten::chunk",
    "aten::split",
    "aten::expand",
    "aten::repeat",
    "aten::stack",
    "aten::cat",
    "aten::dropout",
    "aten::clone",
    "aten::__getitem__",
    "aten::channel_shuffle",
    "prim::ListUnpack",
];

/// Names of the attributes that a graph assigns, to whatever object.
fn written(graph: &Graph) -> Vec<Sym> {
    let nodes = graph.walk().map(|id| graph.node(id));
    let assigning = nodes.filter(|node| node.op().is("prim::SetAttr"));
    assigning
        .filter_map(|node| node.str_attr("name").map(Sym::new))
        .collect()
}

/// Operators of `quantized::` whose outputs are real numbers or no tensors.
fn makes_floats(name: &str) -> bool {
    name.contains("_dynamic")
        || name.contains("_unpack")
        || name.contains("_prepack")
        || name.contains("embedding")
}

fn quantized_dtype(literal: &Literal) -> Option<DType> {
    literal
        .as_tensor()
        .map(planish_ir::Tensor::dtype)
        .filter(|dtype| dtype.is_quantized())
}
