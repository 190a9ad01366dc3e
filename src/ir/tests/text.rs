//! The text form of graphs: what PyTorch prints, what it does not read back, and what no text may do to the reader.

use planish_ir::text::{canonical, faithful, parse_graph, parse_graphs};
use planish_ir::{Attr, Graph, Literal, Op, Type, isomorphic};

/// A graph whose only statements are `body`.
fn read(body: &str) -> Graph {
    let text = format!("graph(%x : Tensor, %self : __torch__.M):\n{body}\n  return ()\n");
    parse_graph(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The payload of the constant that a line makes.
fn constant(ty: &str, value: &str) -> Literal {
    let graph = read(&format!("  %c : {ty} = prim::Constant[value={value}]()"));
    let node = graph.walk().next().unwrap();
    let literal = graph.constant(graph.output(node)).unwrap().clone();
    for text in [canonical(&graph), faithful(&graph)] {
        let again = parse_graph(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        isomorphic(&graph, &again).unwrap_or_else(|difference| panic!("{difference}\n{text}"));
    }
    literal
}

#[test]
fn examples_of_pytorch_round_trip_exactly() {
    let text = include_str!("fixtures/pytorch_examples.ir");
    let graphs = parse_graphs(text).unwrap();
    assert_eq!(graphs.len(), 16);
    let mut rest = text;
    for (_, graph) in &graphs {
        let printed = faithful(graph);
        let at = rest
            .find(&printed)
            .unwrap_or_else(|| panic!("not in the text:\n{printed}"));
        rest = &rest[at + printed.len()..];
        let again = parse_graph(&canonical(graph)).unwrap();
        isomorphic(graph, &again).unwrap();
    }
}

#[test]
fn constants_are_of_their_declared_type() {
    assert_eq!(constant("bool", "1"), Literal::Bool(true));
    assert_eq!(constant("int", "1"), Literal::Int(1));
    assert_eq!(constant("float", "1"), Literal::Float(1.0));
    assert_eq!(constant("float", "-inf"), Literal::Float(f64::NEG_INFINITY));
    assert_eq!(constant("float", "nan"), Literal::Float(f64::NAN));
    assert_eq!(
        constant("int", "-9223372036854775808"),
        Literal::Int(i64::MIN)
    );
    assert_eq!(constant("complex", "0.+2.j"), Literal::Complex(0.0, 2.0));
    assert_eq!(constant("complex", "0.-2.j"), Literal::Complex(0.0, -2.0));
    assert_eq!(constant("complex", "-2j"), Literal::Complex(0.0, -2.0));
    assert_eq!(
        constant("Device", "\"cuda:0\""),
        Literal::Device("cuda:0".into())
    );
    assert_eq!(constant("int[]", "[1, 2]"), Literal::ints(&[1, 2]));
    assert_eq!(constant("int[]?", "[]"), Literal::ints(&[]));
    assert_eq!(
        constant("float[]", "annotate(List[float], [])"),
        Literal::floats(&[])
    );
    assert_eq!(
        constant("str", r#""a\"b\\c\n\001""#),
        Literal::str("a\"b\\c\n\u{1}")
    );
    assert_eq!(
        constant("(int, float, NoneType)", "(1, 2., None)"),
        Literal::Tuple([Literal::Int(1), Literal::Float(2.0), Literal::None].into())
    );
    assert_eq!(
        constant("Dict(str, int)", "{\"a\": 1}"),
        Literal::dict(Type::Str, Type::Int, [(Literal::str("a"), Literal::Int(1))])
    );
}

#[test]
fn payloads_that_pytorch_leaves_out_are_opaque() {
    for (ty, value) in [
        ("Tensor", "<Tensor>"),
        ("Tensor[]", "[<Tensors>]"),
        (
            "__torch__.torch.classes.quantized.LinearPackedParamsBase",
            "object(0x55d0c3)",
        ),
        ("Float(3)", "-0.1697  0.0544\n 0.1020 [ CPUFloatType{3} ]"),
        ("Float(0)", "[ CPUFloatType{0} ]"),
        (
            "QInt8(2, 1, 1, 1)",
            "(1,1,.,.) =   0.1930  (2,1,.,.) =  0.01 *  -3.5908 [ QuantizedCPUQInt8Type{2,1,1,1}, qscheme: per_channel_affine, scales:  0.1  0.2 [ CPUDoubleType{2} ], zero_points:  0  0 [ CPULongType{2} ], axis: 0 ]",
        ),
        (
            "Float(2, 9)",
            "Columns 1 to 8 0.1 0.2\n\nColumns 9 to 9 1.2 [ CPUFloatType{2,9} ]",
        ),
        ("Float()", "{0.8}"),
    ] {
        assert!(constant(ty, value).is_opaque(), "{ty} {value}");
    }
    let pair = constant(
        "(Float(2), Float(1))",
        "( 0  0.5 [ CPUFloatType{2} ],  1 [ CPUFloatType{1} ])",
    );
    let Literal::Tuple(pair) = pair else {
        panic!("two tensors are a tuple")
    };
    assert!(pair.iter().all(Literal::is_opaque));
}

#[test]
fn an_exactly_printed_element_is_a_payload() {
    let six = constant("Float(requires_grad=0, device=cpu)", "{6}");
    assert_eq!(six.as_tensor().unwrap().values::<f32>().unwrap(), [6.0]);
    let six = constant("Tensor", "{6}");
    assert_eq!(six.as_tensor().unwrap().values::<i64>().unwrap(), [6]);
    let quarter = constant(
        "Float(1, strides=[1], requires_grad=0, device=cpu)",
        "{0.25}",
    );
    assert_eq!(quarter.as_tensor().unwrap().shape(), [1]);
}

#[test]
fn what_pytorch_prints_and_does_not_read_is_read() {
    let graph = read(
        "  %c : bool = aten::Bool(%x)\n   = prim::If(%c) # net.py:3:4\n    block0():\n       = prim::RaiseException(%x, %x), scope: a/b[c] # net.py:4:8\n      -> ()\n    block1():\n      prim::Print(%x)\n      -> ()\n  %x.2_scale_0 : float = prim::GetAttr[name=\"x.2_scale_0\"](%self)\n  %f : Function = prim::Constant[name=\"interpolate\"]()\n  %s : Tensor = aten::add.Tensor(%x, %x, %c), scope: __module.conv\n  %onnx::Conv_3 : Tensor(a!) = aten::relu(%x)",
    );
    let nodes = graph.walk().collect::<Vec<_>>();
    assert_eq!(nodes.len(), 8);
    assert_eq!(
        graph.node(nodes[1]).loc().unwrap().to_string(),
        "net.py:3:4"
    );
    assert_eq!(
        graph.node(nodes[2]).loc().unwrap().to_string(),
        "net.py:4:8"
    );
    let name = |at: usize| {
        let name = graph.value(graph.output(nodes[at])).name();
        name.map(ToString::to_string)
    };
    assert_eq!(name(4).as_deref(), Some("x.2_scale_0"));
    assert_eq!(
        graph.constant(graph.output(nodes[5])).unwrap().ty(),
        Type::Function("interpolate".into())
    );
    assert_eq!(graph.node(nodes[6]).op(), Op::of("aten::add.Tensor"));
    assert_eq!(name(7).as_deref(), Some("onnx::Conv_3"));
    let printed = faithful(&graph);
    assert!(
        printed.contains("   = prim::If(%c) # net.py:3:4\n    block0():\n"),
        "{printed}"
    );
    assert!(
        printed.contains("%f : Function = prim::Constant[name=\"interpolate\"]()"),
        "{printed}"
    );
    isomorphic(&graph, &parse_graph(&printed).unwrap()).unwrap();
    isomorphic(&graph, &parse_graph(&canonical(&graph)).unwrap()).unwrap();
}

#[test]
fn nested_graphs_stand_in_with_clauses() {
    let text = "\
graph(%x : Tensor):
  %1 : Future(Tensor) = prim::fork_0(%x)
  %2 : Future(Tensor) = prim::fork_1(%x)
  %3 : Tensor = aten::wait(%2)
  return (%3)
with prim::fork_0 = graph(%x : Tensor):
  %1 : Future(Tensor) = prim::fork_0(%x)
  %2 : Tensor = aten::wait(%1)
  return (%2)
with prim::fork_0 = graph(%x : Tensor):
  return (%x)
with prim::fork_1 = graph(%x : Tensor):
  %1 : Tensor = aten::neg(%x)
  return (%1)
";
    let graph = parse_graph(text).unwrap();
    let node = graph.node(graph.walk().next().unwrap());
    assert_eq!(node.op(), Op::of("prim::fork"));
    assert!(matches!(node.attr("Subgraph"), Some(Attr::Graph(body)) if body.len() == 2));
    assert_eq!(faithful(&graph), text);
    isomorphic(&graph, &parse_graph(&canonical(&graph)).unwrap()).unwrap();
}

#[test]
fn an_overload_that_types_do_not_tell_is_written_out() {
    let graph = read("  %y = aten::add.Scalar(%x, %x, %x)\n  %z = aten::relu.default(%x)");
    let text = canonical(&graph);
    assert!(text.contains("aten::add.Scalar(%0"), "{text}");
    assert!(text.contains("aten::relu(%0"), "{text}");
    isomorphic(&graph, &parse_graph(&text).unwrap()).unwrap();
    let text = faithful(&graph);
    assert!(
        text.contains("aten::add(%x, %x, %x) # @overload=Scalar"),
        "{text}"
    );
    isomorphic(&graph, &parse_graph(&text).unwrap()).unwrap();
}

#[test]
fn every_fault_is_reported_once() {
    let text = "\
graph(%x : Tensor):
  %1 : Tensr = aten::relu(%x)
  %2 : Tensor = aten::relu(%1)
  %3 : int = prim::Constant[value=\"a\"]()
  %4 : Tensor = aten::relu(%nowhere)
  %x : Tensor = aten::relu(%x)
  return (%2)
";
    let error = parse_graph(text).unwrap_err().in_file("m.ir");
    assert_eq!(
        error.to_string(),
        "m.ir:2:8: `Tensr` is no type
m.ir:4:35: a string stands where `int` is declared
m.ir:5:28: %nowhere is not defined here
m.ir:6:3: %x is defined twice"
    );
}

#[test]
fn hostile_text_is_refused() {
    let deep = |open: &str| format!("graph(%x : Tensor):\n  {}", open.repeat(100_000));
    for text in [
        deep("%1 : Tensor = prim::If(%x)\n block0():\n"),
        deep("%1 : int["),
        format!("graph(%x : {}", "Dict(int, ".repeat(100_000)),
        format!("graph(%x : Tensor{}):\n return ()", "[]".repeat(100_000)),
        format!("graph():\n %1 : int[] = prim::Constant[value={}", "[".repeat(100_000)),
        format!("graph():\n %1 : Any = prim::Constant[value={}", "annotate(Any, ".repeat(100_000)),
        format!("graph():\n %1 : Any = prim::Constant[value={}", "{".repeat(100_000)),
        "graph():\n %1 : Any = a::b_0()\n return ()\nwith a::b_0 = ".repeat(1000),
        "graph():\n %1 : Tensor = prim::Constant[value=random<Float(99999999, 99999999)>]()\n return ()".to_owned(),
        "graph():\n %1 : Tensor = prim::Constant[value=dense<Float(2, 2, strides=[9999999999, 1])>[1, 2, 3, 4]]()\n return ()".to_owned(),
        "graph():\n %1 : Tensor = prim::Constant[value=dense<QInt8(1)>[1]]()\n return ()".to_owned(),
        "graph():\n %1 : Tensor = prim::Constant[value=dense<Float(1)>@gone]()\n return ()".to_owned(),
        "graph():\n %1 : Tensor = prim::Constant[value=3]()\n return ()".to_owned(),
        String::new(),
        "\u{0}\u{1}%%%::->\"".to_owned(),
    ] {
        assert!(parse_graph(&text).is_err(), "{}", &text[..text.len().min(80)]);
    }
}

#[test]
fn text_cut_or_changed_at_any_byte_is_refused_or_read() {
    let text = include_str!("fixtures/pytorch_examples.ir");
    for end in 0..text.len() {
        if text.is_char_boundary(end) {
            let _ = parse_graphs(&text[..end]);
        }
    }
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..bytes.len() {
        for byte in *b"\"[](){}<>%=:0-#j \n" {
            let old = std::mem::replace(&mut bytes[at], byte);
            if at % 41 == usize::from(byte) % 41 {
                let _ = parse_graphs(std::str::from_utf8(&bytes).unwrap());
            }
            bytes[at] = old;
        }
    }
}

#[test]
fn tensors_and_packed_weights_have_a_form() {
    let strided = constant(
        "Tensor",
        "dense<Float(2, 3, strides=[1, 2])>[0.5, 1, -2., 0., 0., 3.]",
    );
    let tensor = strided.as_tensor().unwrap();
    assert_eq!(tensor.strides(), [1, 2]);
    assert_eq!(
        tensor.values::<f32>().unwrap(),
        [0.5, 1.0, -2.0, 0.0, 0.0, 3.0]
    );
    let text = "dense<QInt8(2, 2), scale=[0.5, 0.25], zero_point=[0, 0], axis=0>[1, -2, 3, 4]";
    assert_eq!(constant("Tensor", text).to_string(), text);
    let packed = "pack<conv2d, stride=[1, 1], padding=[0, 1], dilation=[1, 1], output_padding=[0, 0], groups=1>(dense<QInt8(1, 1, 1, 1), scale=0.5, zero_point=0>[3], dense<Float(1)>[0.1])";
    let class = "__torch__.torch.classes.quantized.Conv2dPackedParamsBase";
    assert_eq!(constant(class, packed).to_string(), packed);
    let linear = "pack<linear>(dense<QInt8(1, 1), scale=0.5, zero_point=0>[3], None)";
    assert_eq!(constant("Any", linear).to_string(), linear);
    let random = constant(
        "Tensor",
        "random<QUInt8(2, 3), seed=1, scale=0.1, zero_point=3>",
    );
    assert_eq!(random.as_tensor().unwrap().shape(), [2, 3]);
}
