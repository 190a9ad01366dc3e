//! What is known of the values of a graph before it runs.

use planish_ir::{
    DType, Graph, GraphModule, Literal, ModuleId, NodeId, SecondaryMap, Sym, Type, ValueId,
};

/// What is known of the values of a graph.
pub(super) struct Facts<'a> {
    module: &'a GraphModule,
    graph: &'a Graph,
    objects: SecondaryMap<ValueId, Option<ModuleId>>,
    dtypes: SecondaryMap<ValueId, Option<DType>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(module: &'a GraphModule, graph: &'a Graph) -> Self {
        let mut facts = Self {
            module,
            graph,
            objects: SecondaryMap::new(),
            dtypes: SecondaryMap::new(),
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
        self.dtypes[value]
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
                self.module
                    .module(object)
                    .attrs
                    .get(&Sym::new(node.str_attr("name")?))
                    .cloned()
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
            let around = self.graph.node(node).block();
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
            let mut of_blocks = node.blocks().iter().map(|block| {
                self.graph
                    .block(*block)
                    .results()
                    .get(index + skip)
                    .and_then(|value| self.dtypes[*value])
            });
            let first = of_blocks.next().flatten();
            if of_blocks.all(|dtype| dtype == first) {
                self.dtypes[*output] = first;
            }
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
            self.dtypes[output] = self.literal(output).as_ref().and_then(quantized_dtype);
            return;
        }
        if name == "prim::Constant" {
            self.dtypes[output] = self.graph.constant(output).and_then(quantized_dtype);
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
                    self.dtypes[*param] = self.dtypes[*input];
                }
            }
            return;
        }
        let dtype = match name {
            "aten::quantize_per_tensor" | "aten::quantize_per_channel" => {
                let code = node.inputs().last().and_then(|dtype| self.literal(*dtype));
                match code.as_ref().and_then(Literal::as_int) {
                    Some(code) => DType::from_code(code),
                    None => node
                        .inputs()
                        .last()
                        .and_then(|dtype| self.dtype_read_from(*dtype)),
                }
            }
            "prim::ListConstruct" | "prim::TupleConstruct" => {
                let mut of = node.inputs().iter().map(|input| self.dtypes[*input]);
                let first = of.next().flatten();
                if of.all(|dtype| dtype == first) {
                    first
                } else {
                    None
                }
            }
            _ if makes_floats(name) => None,
            _ if name.starts_with("quantized::") || KEEPS_TYPE.contains(&name) => {
                // Operators of `quantized::` give codes of the type they are given.
                node.inputs().first().and_then(|input| self.dtypes[*input])
            }
            _ => None,
        };
        for output in node.outputs() {
            self.dtypes[*output] = dtype;
        }
    }

    /// `prim::dtype(%x)`, as `quantize_per_tensor` is given it when it takes over the parameters of another tensor.
    fn dtype_read_from(&self, value: ValueId) -> Option<DType> {
        let node = self.graph.node(self.graph.producer(value)?);
        if node.op().is("prim::dtype") {
            self.dtypes[*node.inputs().first()?]
        } else {
            None
        }
    }
}

/// Operators of `aten::` that give a tensor of the type they are given.
const KEEPS_TYPE: [&str; 60] = [
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
    "aten::upsample_bilinear2d",
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

/// Operators of `quantized::` whose outputs are real numbers or no tensors.
fn makes_floats(name: &str) -> bool {
    name.contains("_dynamic")
        || name.contains("_unpack")
        || name.contains("_prepack")
        || name.contains("embedding_bag")
}

fn quantized_dtype(literal: &Literal) -> Option<DType> {
    literal
        .as_tensor()
        .map(planish_ir::Tensor::dtype)
        .filter(|dtype| dtype.is_quantized())
}
