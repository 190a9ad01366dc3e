//! Networks to measure with, in the form in which PyTorch's quantizer leaves a scripted network before Finalize: one inlined method over a
//! tree of modules, weights as float attributes that are quantized where they are used, activations between quantize and dequantize.
//!
//! Weights are pseudo-random and shapes are those of the networks of the same names; a `thinness` divides the channels, for measurements
//! of what does not depend on the size of weights.

use std::fmt;

use planish::ir::{
    At, Class, ClassKind, DType, Graph, GraphModule, Literal, ModuleId, Op, Sym, Tensor, Type,
    ValueId,
};

/// A network that can be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// So many convolutions of 4 channels with relu, one after another.
    Chain(usize),
    /// ResNet-18.
    ResNet18,
    /// ResNet-50.
    ResNet50,
    /// `MobileNet` v2.
    MobileNetV2,
    /// DenseNet-121.
    DenseNet121,
}

impl Network {
    /// Makes the network, with channels divided by `thinness` (chains are always thin).
    pub(crate) fn build(self, thinness: i64) -> GraphModule {
        let mut net = Net::new(thinness);
        let x = net.input();
        let y = match self {
            Self::Chain(layers) => (0..layers).fold(x, |x, _| {
                let y = net.conv(x, Conv::of(4, 1));
                net.relu(y)
            }),
            Self::ResNet18 => resnet(&mut net, x, [2, 2, 2, 2], 1),
            Self::ResNet50 => resnet(&mut net, x, [3, 4, 6, 3], 4),
            Self::MobileNetV2 => mobilenet_v2(&mut net, x),
            Self::DenseNet121 => densenet121(&mut net, x),
        };
        net.finish(y)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(layers) => write!(f, "chain of {layers}"),
            Self::ResNet18 => f.write_str("resnet18"),
            Self::ResNet50 => f.write_str("resnet50"),
            Self::MobileNetV2 => f.write_str("mobilenet_v2"),
            Self::DenseNet121 => f.write_str("densenet121"),
        }
    }
}

/// `widening` is 1 for blocks of two convolutions and 4 for those of three.
fn resnet(net: &mut Net, x: Codes, depths: [usize; 4], widening: i64) -> Codes {
    let y = net.conv(x, Conv::of(64, 7).stride(2));
    let y = net.relu(y);
    let mut x = net.max_pool(y);
    for (stage, blocks) in depths.into_iter().enumerate() {
        let width = 64 << stage;
        for block in 0..blocks {
            let stride = if block == 0 && stage > 0 { 2 } else { 1 };
            let wide = width * widening;
            let y = if widening == 1 {
                let y = net.conv(x, Conv::of(width, 3).stride(stride));
                let y = net.relu(y);
                net.conv(y, Conv::of(width, 3))
            } else {
                let y = net.conv(x, Conv::of(width, 1));
                let y = net.relu(y);
                let y = net.conv(y, Conv::of(width, 3).stride(stride));
                let y = net.relu(y);
                net.conv(y, Conv::of(wide, 1))
            };
            let y = net.quantize(y);
            let shortcut = if stride == 2 || x.channels != y.channels {
                let down = net.conv(x, Conv::of(wide, 1).stride(stride));
                net.quantize(down)
            } else {
                x
            };
            let sum = net.add(y, shortcut);
            x = net.relu(sum);
        }
    }
    net.classify(x)
}

fn mobilenet_v2(net: &mut Net, x: Codes) -> Codes {
    let y = net.conv(x, Conv::of(32, 3).stride(2));
    let mut x = net.relu6(y);
    // Expansion, channels, blocks and stride of the first, from the paper's table 2.
    for (expansion, channels, blocks, first) in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ] {
        for block in 0..blocks {
            let stride = if block == 0 { first } else { 1 };
            let hidden = x.channels * expansion;
            let mut y = x;
            if expansion > 1 {
                let wide = net.conv(y, Conv::exactly(hidden, 1));
                y = net.relu6(wide);
            }
            let deep = Conv::exactly(hidden, 3).stride(stride).groups(hidden);
            let deep = net.conv(y, deep);
            let y = net.relu6(deep);
            let y = net.conv(y, Conv::of(channels, 1));
            let y = net.quantize(y);
            x = if stride == 1 && x.channels == y.channels {
                let sum = net.add(y, x);
                net.quantize(sum)
            } else {
                y
            };
        }
    }
    let y = net.conv(x, Conv::of(1280, 1));
    let y = net.relu6(y);
    net.classify(y)
}

fn densenet121(net: &mut Net, x: Codes) -> Codes {
    const GROWTH: i64 = 32;
    let y = net.conv(x, Conv::of(64, 7).stride(2));
    let y = net.relu(y);
    let mut x = net.max_pool(y);
    for (stage, layers) in [6, 12, 24, 16].into_iter().enumerate() {
        let mut features = vec![x];
        for _ in 0..layers {
            let all = net.cat(&features);
            let all = net.batch_norm(all);
            let y = net.relu(all);
            let y = net.conv(y, Conv::of(4 * GROWTH, 1));
            let y = net.relu(y);
            let y = net.conv(y, Conv::of(GROWTH, 3));
            features.push(net.quantize(y));
        }
        x = net.cat(&features);
        if stage < 3 {
            let norm = net.batch_norm(x);
            let y = net.relu(norm);
            let half = Conv::exactly(x.channels / 2, 1);
            let y = net.conv(y, half);
            let y = net.quantize(y);
            x = net.avg_pool(y);
        }
    }
    net.classify(x)
}

/// A quantized activation.
#[derive(Clone, Copy)]
struct Codes {
    value: ValueId,
    channels: i64,
}

/// A float activation.
#[derive(Clone, Copy)]
struct Floats {
    value: ValueId,
    channels: i64,
}

/// The shape of a convolution.
#[derive(Clone, Copy)]
struct Conv {
    channels: i64,
    kernel: i64,
    stride: i64,
    groups: i64,
    is_thin: bool,
}

impl Conv {
    /// To this many channels, in a network that is not thin.
    fn of(channels: i64, kernel: i64) -> Self {
        Self {
            channels,
            kernel,
            stride: 1,
            groups: 1,
            is_thin: false,
        }
    }

    /// To exactly this many channels.
    fn exactly(channels: i64, kernel: i64) -> Self {
        Self {
            is_thin: true,
            ..Self::of(channels, kernel)
        }
    }

    fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    fn groups(self, groups: i64) -> Self {
        Self { groups, ..self }
    }
}

/// A network that is being made.
struct Net {
    module: GraphModule,
    graph: Graph,
    this: ValueId,
    thinness: i64,
    ints: Vec<(i64, ValueId)>,
    named: usize,
    random: u32,
}

impl Net {
    fn new(thinness: i64) -> Self {
        let class = Sym::new("__torch__.Net");
        let mut graph = Graph::new();
        let this = graph.add_param(graph.entry(), Type::Class(class));
        Self {
            module: GraphModule::new(class, "made to be measured"),
            graph,
            this,
            thinness,
            ints: Vec::new(),
            named: 0,
            random: 1,
        }
    }

    fn input(&mut self) -> Codes {
        let value = self.graph.add_param(self.graph.entry(), Type::TENSOR);
        let channels = if self.thinness > 1 { 4 } else { 3 };
        self.quantize(Floats { value, channels })
    }

    fn finish(mut self, result: Codes) -> GraphModule {
        let y = self.dequantize(result);
        self.graph.set_results(self.graph.entry(), &[y.value]);
        let params = ["self", "x"].map(|name| (Sym::new(name), None)).to_vec();
        let class = self.module.module(self.module.root()).class;
        let forward = Sym::new("forward");
        // A file is read from its first line to its last: nodes are numbered as they stand.
        let graph = self.graph.compact();
        self.module.add_method(class, forward, params, graph);
        self.module
    }

    fn quantize(&mut self, x: Floats) -> Codes {
        let name = self.name("a");
        let root = self.module.root();
        let scale = Literal::Float(0.05 + self.named as f64 * 1e-4);
        let parameters = [
            ("scale_0", scale, Type::Float),
            ("zero_point_0", Literal::Int(64), Type::Int),
            ("scalar_type_0", Literal::Int(13), Type::Int),
        ];
        let mut inputs = vec![x.value];
        for (what, literal, ty) in parameters {
            let name = format!("{name}_{what}");
            self.declare(root, &name, literal, ty.clone());
            inputs.push(self.read(self.this, &name, ty));
        }
        Codes {
            value: self.node("aten::quantize_per_tensor", &inputs),
            channels: x.channels,
        }
    }

    fn dequantize(&mut self, x: Codes) -> Floats {
        Floats {
            value: self.node("aten::dequantize.self", &[x.value]),
            channels: x.channels,
        }
    }

    fn conv(&mut self, x: Codes, conv: Conv) -> Floats {
        let thinness = if conv.is_thin { 1 } else { self.thinness };
        let channels = (conv.channels / thinness).max(4);
        let shape = [channels, x.channels / conv.groups, conv.kernel, conv.kernel];
        let x = self.dequantize(x);
        let (weight, bias) = self.weight("Conv2d", &shape);
        let (stride, padding) = (conv.stride, conv.kernel / 2);
        let [stride, padding, dilation] = [stride, padding, 1].map(|side| self.pair(side));
        let groups = self.int(conv.groups);
        let inputs = [x.value, weight, bias, stride, padding, dilation, groups];
        let value = self.node("aten::conv2d", &inputs);
        Floats { value, channels }
    }

    fn relu(&mut self, x: Floats) -> Codes {
        let value = self.node("aten::relu", &[x.value]);
        self.quantize(Floats { value, ..x })
    }

    /// The quantizer puts a pair of quantize and dequantize between a convolution and what is no relu.
    fn relu6(&mut self, x: Floats) -> Codes {
        let codes = self.quantize(x);
        let x = self.dequantize(codes);
        let [low, high] = [0.0, 6.0].map(|bound| self.constant(Literal::Float(bound)));
        let value = self.node("aten::hardtanh", &[x.value, low, high]);
        self.quantize(Floats { value, ..x })
    }

    fn add(&mut self, a: Codes, b: Codes) -> Floats {
        let [a, b] = [a, b].map(|codes| self.dequantize(codes));
        let one = self.int(1);
        let value = self.node("aten::add.Tensor", &[a.value, b.value, one]);
        Floats { value, ..a }
    }

    fn cat(&mut self, parts: &[Codes]) -> Codes {
        let channels = parts.iter().map(|part| part.channels).sum();
        let parts: Vec<ValueId> = parts.iter().map(|x| self.dequantize(*x).value).collect();
        let ty = Type::list(Type::TENSOR);
        let list = self.typed("prim::ListConstruct", &parts, ty);
        let one = self.int(1);
        let value = self.node("aten::cat", &[list, one]);
        self.quantize(Floats { value, channels })
    }

    fn batch_norm(&mut self, x: Codes) -> Floats {
        let x = self.dequantize(x);
        let (name, owner) = self.child("BatchNorm2d");
        let owner_value = self.module_value(&name, "BatchNorm2d");
        let mut inputs = vec![x.value];
        for field in ["weight", "bias", "running_mean", "running_var"] {
            let values = self.floats(&[x.channels]);
            self.declare(owner, field, Literal::Tensor(values), Type::TENSOR);
            inputs.push(self.read(owner_value, field, Type::TENSOR));
        }
        let (no, yes) = (Literal::Bool(false), Literal::Bool(true));
        for literal in [no, Literal::Float(0.1), Literal::Float(1e-5), yes] {
            inputs.push(self.constant(literal));
        }
        let value = self.node("aten::batch_norm", &inputs);
        Floats { value, ..x }
    }

    fn max_pool(&mut self, x: Codes) -> Codes {
        let [size, stride, padding, dilation] = [3, 2, 1, 1].map(|side| self.pair(side));
        let ceil = self.constant(Literal::Bool(false));
        let inputs = [x.value, size, stride, padding, dilation, ceil];
        let value = self.node("aten::max_pool2d", &inputs);
        Codes { value, ..x }
    }

    fn avg_pool(&mut self, x: Codes) -> Codes {
        let x = self.dequantize(x);
        let [size, stride, padding] = [2, 2, 0].map(|side| self.pair(side));
        let (ceil, count) = (Literal::Bool(false), Literal::Bool(true));
        let [ceil, count, divisor] = [ceil, count, Literal::None].map(|it| self.constant(it));
        let inputs = [x.value, size, stride, padding, ceil, count, divisor];
        let value = self.node("aten::avg_pool2d", &inputs);
        self.quantize(Floats { value, ..x })
    }

    fn classify(&mut self, x: Codes) -> Codes {
        let x = self.dequantize(x);
        let size = self.pair(1);
        let value = self.node("aten::adaptive_avg_pool2d", &[x.value, size]);
        let codes = self.quantize(Floats { value, ..x });
        let [from, to] = [1, -1].map(|dim| self.int(dim));
        let flat = self.node("aten::flatten.using_ints", &[codes.value, from, to]);
        let flat = Codes {
            value: flat,
            ..codes
        };
        let x = self.dequantize(flat);
        let classes = 1000 / self.thinness;
        let (weight, bias) = self.weight("Linear", &[classes, x.channels]);
        let value = self.node("aten::linear", &[x.value, weight, bias]);
        let channels = classes;
        self.quantize(Floats { value, channels })
    }

    /// A submodule with a weight and a bias; the weight as it is after quantizing it and back.
    fn weight(&mut self, class: &str, shape: &[i64]) -> (ValueId, ValueId) {
        let (name, owner) = self.child(class);
        let owner_value = self.module_value(&name, class);
        let channels = shape[0];
        let (weight, bias) = (self.floats(shape), self.floats(&[channels]));
        let scales: Vec<f32> = (0..channels).map(|at| 0.01 + at as f32 * 1e-6).collect();
        let scales = Tensor::from_values(&[channels], &scales).expect("as many as channels");
        let zeros = vec![0; channels as usize * DType::Int.size()];
        let zeros = Tensor::new(DType::Int, &[channels], zeros).expect("as many as channels");
        let parameters = [
            ("weight", Literal::Tensor(weight), Type::TENSOR),
            ("weight.1_scale_0", Literal::Tensor(scales), Type::TENSOR),
            (
                "weight.1_zero_point_0",
                Literal::Tensor(zeros),
                Type::TENSOR,
            ),
            ("weight.1_axis_0", Literal::Int(0), Type::Int),
            ("weight.1_scalar_type_0", Literal::Int(12), Type::Int),
        ];
        let inputs = parameters.map(|(field, literal, ty)| {
            self.declare(owner, field, literal, ty.clone());
            self.read(owner_value, field, ty)
        });
        let codes = self.node("aten::quantize_per_channel", &inputs);
        let weight = self.node("aten::dequantize.self", &[codes]);
        let ty = Type::optional(Type::TENSOR);
        self.declare(owner, "bias", Literal::Tensor(bias), ty.clone());
        (weight, self.read(owner_value, "bias", ty))
    }

    fn child(&mut self, class: &str) -> (String, ModuleId) {
        let name = self.name("m");
        let class = class_name(class);
        let known = &mut self.module.classes;
        known
            .entry(class)
            .or_insert_with(|| Class::new(ClassKind::Module));
        let owner = self.module.add_module(class);
        let root = self.module.root();
        self.module.set_submodule(root, Sym::new(&name), owner);
        self.field(root, &name, Type::Class(class));
        (name, owner)
    }

    fn module_value(&mut self, name: &str, class: &str) -> ValueId {
        self.read(self.this, name, Type::Class(class_name(class)))
    }

    fn declare(&mut self, owner: ModuleId, name: &str, literal: Literal, ty: Type) {
        self.field(owner, name, ty);
        let attrs = &mut self.module.module_mut(owner).attrs;
        attrs.insert(Sym::new(name), literal);
    }

    fn field(&mut self, owner: ModuleId, name: &str, ty: Type) {
        let class = self.module.module(owner).class;
        let class = self.module.classes.get_mut(&class);
        let fields = &mut class
            .expect("every class is declared with its module")
            .fields;
        fields.insert(Sym::new(name), ty);
    }

    fn read(&mut self, owner: ValueId, name: &str, ty: Type) -> ValueId {
        let value = self.typed("prim::GetAttr", &[owner], ty);
        let node = self.graph.producer(value).expect("a node has computed it");
        self.graph.set_attr(node, "name", Literal::str(name));
        value
    }

    fn pair(&mut self, side: i64) -> ValueId {
        let side = self.int(side);
        self.typed("prim::ListConstruct", &[side, side], Type::list(Type::Int))
    }

    /// Equal numbers are one constant, as in a file.
    fn int(&mut self, value: i64) -> ValueId {
        if let Some((_, known)) = self.ints.iter().find(|(known, _)| *known == value) {
            return *known;
        }
        let constant = self.constant(Literal::Int(value));
        self.ints.push((value, constant));
        constant
    }

    fn constant(&mut self, literal: Literal) -> ValueId {
        let start = At::Start(self.graph.entry());
        self.graph.insert_constant(start, literal)
    }

    fn node(&mut self, op: &str, inputs: &[ValueId]) -> ValueId {
        self.typed(op, inputs, Type::TENSOR)
    }

    fn typed(&mut self, op: &str, inputs: &[ValueId], ty: Type) -> ValueId {
        let end = At::End(self.graph.entry());
        let node = self.graph.insert(end, Op::of(op), inputs, [ty]);
        self.graph.output(node)
    }

    /// Numbers between -1 and 1, each time others.
    fn floats(&mut self, shape: &[i64]) -> Tensor {
        let count: i64 = shape.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|_| {
                // The multiplier and the increment are those of Numerical Recipes.
                self.random = self
                    .random
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                self.random as f32 / (1u32 << 31) as f32 - 1.0
            })
            .collect();
        Tensor::from_values(shape, &values).expect("as many as the shape says")
    }

    fn name(&mut self, prefix: &str) -> String {
        self.named += 1;
        format!("{prefix}{}", self.named)
    }
}

fn class_name(short: &str) -> Sym {
    Sym::new(&format!("__torch__.torch.nn.modules.{short}"))
}
