//! Whatever a graph holds, its text reads back to the same graph.

use std::sync::Arc;

use indexmap::IndexMap;
use planish_ir::text::{Blobs, Printer, Style, canonical, parse_graph, parse_graph_with};
use planish_ir::{
    At, Attr, BlockId, ConvGeometry, DType, Graph, Literal, NamedTupleType, Object, Op, PackedKind,
    PackedParams, QParams, Sym, Tensor, TensorType, Type, ValueId, ValueName, isomorphic,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn dtype() -> impl Strategy<Value = DType> {
    (0_i64..17).prop_map(|code| DType::from_code(code).unwrap())
}

fn name() -> impl Strategy<Value = Sym> {
    prop_oneof![
        select(vec![
            "a",
            "x.2_scale_0",
            "8_scale_0",
            "weird \"name\"",
            "",
            "Tensor"
        ]),
        select(vec!["__torch__.a.B", "training", "ü", "a.b"]),
    ]
    .prop_map(Sym::new)
}

fn tensor_type() -> impl Strategy<Value = Type> {
    let dims = || option::of(vec(option::of(0_i64..9), 0..4));
    let parts = (
        option::of(dtype()),
        dims(),
        dims(),
        option::of(any::<bool>()),
        option::of(select(vec!["cpu", "cuda:0"])),
    );
    parts.prop_map(|(dtype, dims, strides, requires_grad, device)| {
        let known = TensorType {
            dtype,
            dims,
            // PyTorch's text has no strides of a tensor without dimensions.
            strides: strides.filter(|strides| !strides.is_empty()),
            requires_grad,
            device: device.map(Sym::new),
        };
        if known == TensorType::default() {
            return Type::TENSOR;
        }
        Type::Tensor(Some(Arc::new(known)))
    })
}

fn ty() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![
        tensor_type(),
        select(vec![
            Type::Int,
            Type::Float,
            Type::Bool,
            Type::Complex,
            Type::Scalar
        ]),
        select(vec![
            Type::Str,
            Type::None,
            Type::Any,
            Type::Device,
            Type::TENSOR
        ]),
        select(vec![
            Type::class("__torch__.a.B"),
            Type::class("Bare"),
            Type::Named("Generator".into()),
            Type::Function("__torch__.f".into()),
            Type::Var("t".into()),
        ]),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::optional),
            inner.clone().prop_map(Type::list),
            vec(inner.clone(), 0..3).prop_map(Type::tuple),
            (inner.clone(), inner.clone()).prop_map(|(key, value)| Type::dict(key, value)),
            vec(inner.clone(), 1..3).prop_map(|members| Type::Union(members.into())),
            inner.clone().prop_map(|ty| Type::Future(ty.into())),
            (inner.clone(), any::<bool>()).prop_map(|(ty, named)| {
                let name = Sym::new(if named { "__torch__.P" } else { "" });
                let fields = vec![("a".into(), ty)];
                Type::NamedTuple(Arc::new(NamedTupleType { name, fields }))
            }),
        ]
    })
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let shape = vec(0_i64..4, 0..4);
    (dtype(), shape, any::<u64>(), any::<u8>(), -3.0..3.0).prop_map(
        |(dtype, shape, seed, kind, scale)| {
            let count: i64 = shape.iter().product();
            let mut state = seed;
            let bytes: Vec<u8> = (0..count as usize * dtype.size())
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
                    let byte = (state >> 56) as u8;
                    if dtype == DType::Bool { byte & 1 } else { byte }
                })
                .collect();
            // Every third tensor is transposed, every fifth shows one element again and again.
            let mut strides = planish_ir::contiguous_strides(&shape);
            let mut shape = shape;
            if kind % 3 == 0 {
                strides.reverse();
                shape.reverse();
            } else if kind % 5 == 0 && count > 0 {
                strides.iter_mut().for_each(|stride| *stride = 0);
            }
            let tensor = Tensor::strided(dtype, &shape, &strides, 0, bytes).unwrap();
            let qparams = match shape.first() {
                _ if !dtype.is_quantized() => return tensor,
                Some(channels) if kind % 4 == 0 && *channels > 0 => QParams::PerChannelFloat {
                    scales: (0..*channels).map(|at| scale as f32 + at as f32).collect(),
                    zero_points: (0..*channels).map(|at| 0.3 * at as f32).collect(),
                    axis: 0,
                },
                Some(channels) if kind % 2 == 0 => QParams::PerChannel {
                    scales: (0..*channels).map(|at| scale + at as f64).collect(),
                    zero_points: (0..*channels).collect(),
                    axis: 0,
                },
                _ => QParams::PerTensor {
                    scale,
                    zero_point: i64::from(kind),
                },
            };
            tensor.with_qparams(qparams).unwrap()
        },
    )
}

fn packed() -> impl Strategy<Value = PackedParams> {
    (tensor(), option::of(tensor()), 0_usize..6, any::<bool>()).prop_map(
        |(weight, bias, dims, transposed)| {
            let kind = match dims {
                0 => PackedKind::Linear,
                4 => PackedKind::LinearFp16,
                5 => PackedKind::Embedding,
                dims => PackedKind::Conv(ConvGeometry {
                    stride: (1..=dims as i64).collect(),
                    padding: (0..dims as i64).collect(),
                    dilation: (0..dims).map(|_| 1).collect(),
                    output_padding: (0..dims).map(|_| 0).collect(),
                    groups: 2,
                    transposed,
                }),
            };
            PackedParams { kind, weight, bias }
        },
    )
}

fn literal() -> impl Strategy<Value = Literal> {
    let float = any::<u64>().prop_map(f64::from_bits);
    let leaf = prop_oneof![
        Just(Literal::None),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(Literal::Int),
        float.clone().prop_map(Literal::Float),
        select(vec![0.0, -0.0, 1.0, 0.1, 1e10, 1e22, 123456.75]).prop_map(Literal::Float),
        (float.clone(), float).prop_map(|(real, imaginary)| Literal::Complex(real, imaginary)),
        any::<String>().prop_map(|text| Literal::str(&text)),
        Just(Literal::Device("cuda:0".into())),
        tensor().prop_map(Literal::Tensor),
        packed().prop_map(|packed| Literal::Packed(packed.into())),
        name().prop_map(Literal::Function),
        Just(Literal::Opaque),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = || vec(inner.clone(), 0..3);
        prop_oneof![
            (ty(), several()).prop_map(|(element, items)| Literal::List(element, items.into())),
            several().prop_map(|items| {
                let element = items.first().map_or(Type::Any, Literal::ty);
                Literal::List(element, items.into())
            }),
            several().prop_map(|items| Literal::Tuple(items.into())),
            (ty(), ty(), several()).prop_map(|(key, value, items)| {
                let entries = items.iter().cloned().zip(items.iter().rev().cloned());
                Literal::dict(key, value, entries)
            }),
            (name(), name(), inner).prop_map(|(class, field, value)| {
                let fields = IndexMap::from([(field, value)]);
                Literal::Object(Arc::new(Object { class, fields }))
            }),
        ]
    })
}

/// One node; the numbers choose among the values that can be read.
#[derive(Clone, Debug)]
struct Plan {
    op: &'static str,
    inputs: Vec<u16>,
    outputs: Vec<Type>,
    attrs: Vec<(Sym, Attr)>,
    blocks: Vec<Vec<Plan>>,
    names: Vec<Option<String>>,
}

fn attr() -> impl Strategy<Value = Attr> {
    prop_oneof![
        4 => literal().prop_map(Attr::Literal),
        1 => ty().prop_map(Attr::Type),
        1 => vec(ty(), 0..3).prop_map(|types| Attr::Types(types.into())),
    ]
}

fn plan() -> impl Strategy<Value = Plan> {
    let ops = vec![
        "aten::relu",
        "aten::add.Tensor",
        "aten::add.Scalar",
        "aten::add",
        "aten::size",
        "qfin::op",
        "qfin::op.x",
        "prim::If",
        "quantized::conv2d.new",
        "qfin::odd_1",
    ];
    let names = || vec(option::of("[a-c][a-z0-9_.]{0,3}|[0-9]{1,2}"), 3);
    let node = (
        select(ops),
        vec(any::<u16>(), 0..4),
        vec(ty(), 0..3),
        vec((name(), attr()), 0..2),
        names(),
    );
    let node = node.prop_map(|(op, inputs, outputs, attrs, names)| Plan {
        op,
        inputs,
        outputs,
        attrs,
        blocks: Vec::new(),
        names,
    });
    let constant = (literal(), option::of(ty()), names()).prop_map(|(literal, ty, names)| Plan {
        op: "prim::Constant",
        inputs: Vec::new(),
        outputs: vec![ty.unwrap_or_else(|| literal.ty())],
        attrs: match literal {
            // The absence of a payload.
            Literal::None => Vec::new(),
            literal => vec![("value".into(), literal.into())],
        },
        blocks: Vec::new(),
        names,
    });
    let leaf = prop_oneof![node, constant];
    leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), vec(vec(inner, 0..3), 0..3)).prop_map(|(mut node, blocks)| {
            node.blocks = blocks;
            node
        })
    })
}

fn build(graph: &mut Graph, block: BlockId, plans: &[Plan], mut readable: Vec<ValueId>) {
    for plan in plans {
        let pick = |number: &u16| readable[usize::from(*number) % readable.len()];
        let inputs: Vec<ValueId> = plan.inputs.iter().map(pick).collect();
        let node = graph.insert(
            At::End(block),
            Op::of(plan.op),
            &inputs,
            plan.outputs.clone(),
        );
        for (name, attr) in &plan.attrs {
            graph.set_attr(node, name.as_str(), attr.clone());
        }
        for nested in &plan.blocks {
            let nested_block = graph.add_block(node);
            let mut readable = readable.clone();
            readable.push(graph.add_param(nested_block, Type::Int));
            build(graph, nested_block, nested, readable);
        }
        let outputs = graph.node(node).outputs().to_vec();
        for (output, name) in outputs.iter().zip(&plan.names) {
            graph.set_name(*output, name.as_deref().map(ValueName::new));
        }
        readable.extend(outputs);
    }
    let results: Vec<ValueId> = readable.iter().rev().take(2).copied().collect();
    graph.set_results(block, &results);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn a_type_reads_back(ty in ty()) {
        prop_assert_eq!(ty.to_string().parse::<Type>().unwrap(), ty);
    }

    #[test]
    fn a_graph_reads_back(plans in vec(plan(), 0..6)) {
        let mut graph = Graph::new();
        let entry = graph.entry();
        let x = graph.add_param(entry, Type::TENSOR);
        build(&mut graph, entry, &plans, vec![x]);
        for style in [Style::Canonical, Style::Faithful] {
            let text = Printer::new(style).graph(&graph);
            let again = match parse_graph(&text) {
                Ok(again) => again,
                Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
            };
            if let Err(difference) = isomorphic(&graph, &again) {
                return Err(TestCaseError::fail(format!("{difference}\n{text}")));
            }
            prop_assert_eq!(canonical(&again), canonical(&graph));
        }
        let mut blobs = Blobs::new();
        let text = Printer::new(Style::Canonical).blobs(&mut blobs, 0).graph(&graph);
        let again = parse_graph_with(&text, &blobs).unwrap();
        prop_assert_eq!(canonical(&again), canonical(&graph));
    }

    #[test]
    fn no_text_panics(text in "[a-z%:=()\\[\\]<>{}\"0-9.,# \n-]{0,60}") {
        let _ = parse_graph(&text);
        let _ = planish_ir::text::parse_module(&text);
        let _ = text.parse::<Type>();
        let _ = parse_graph(&format!("graph():\n %1 : Any = prim::Constant[value={text}]()\n return ()"));
        let _ = parse_graph(&format!("graph():\n %1 : Tensor = prim::Constant[value=dense<Float(2){text}]()\n return ()"));
    }
}
