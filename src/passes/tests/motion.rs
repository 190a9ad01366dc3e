//! Operators that compute nothing: the same on codes as on what they stand for; and what is said of those that stay.

use planish_eval::{Contract, Value, run_graph, to_literal};
use planish_ir::text::parse_graph;
use planish_ir::{GraphModule, Literal, Tensor};
use planish_passes::analysis::codes::{CHOOSES_ELEMENTS, MOVES_ELEMENTS, PADS_ELEMENTS};
use planish_passes::{Coverage, FINALIZE, Fuel, NoKernels, Options, PassCx, Pipeline, Remarks};

/// The operands after the tensor, for a tensor of the sizes 1, 4, 6, 6.
const OPERANDS: [(&str, &[&str]); 53] = [
    ("aten::alias", &[]),
    ("aten::broadcast_to", &["int[] = [2, 4, 6, 6]"]),
    ("aten::channel_shuffle", &["int = 2"]),
    ("aten::chunk", &["int = 2", "int = 1"]),
    ("aten::clone", &["NoneType"]),
    ("aten::contiguous", &["int = 0"]),
    ("aten::detach", &[]),
    ("aten::expand", &["int[] = [2, 4, 6, 6]", "bool = False"]),
    (
        "aten::expand_as",
        &["Tensor = random<Float(2, 4, 6, 6), seed=1>"],
    ),
    ("aten::flatten", &["int = 1", "int = -1"]),
    ("aten::flip", &["int[] = [1, 3]"]),
    (
        "aten::index_select",
        &["int = 1", "Tensor = dense<Long(3)>[2, 0, 2]"],
    ),
    ("aten::moveaxis", &["int[] = [1]", "int[] = [3]"]),
    ("aten::movedim", &["int[] = [1]", "int[] = [3]"]),
    ("aten::narrow", &["int = 1", "int = 1", "int = 2"]),
    ("aten::numpy_T", &[]),
    ("aten::permute", &["int[] = [0, 2, 3, 1]"]),
    ("aten::pixel_shuffle", &["int = 2"]),
    ("aten::pixel_unshuffle", &["int = 2"]),
    ("aten::repeat", &["int[] = [2, 1, 1, 2]"]),
    (
        "aten::repeat_interleave",
        &["int = 2", "int = 1", "NoneType"],
    ),
    ("aten::reshape", &["int[] = [4, 36]"]),
    (
        "aten::reshape_as",
        &["Tensor = random<Float(4, 36), seed=1>"],
    ),
    ("aten::roll", &["int[] = [1]", "int[] = [2]"]),
    ("aten::select", &["int = 1", "int = 2"]),
    ("aten::slice", &["int = 3", "int = 1", "int = 5", "int = 2"]),
    ("aten::split", &["int = 3", "int = 2"]),
    ("aten::split_with_sizes", &["int[] = [1, 3]", "int = 1"]),
    ("aten::squeeze", &["int = 0"]),
    ("aten::swapaxes", &["int = 1", "int = 2"]),
    ("aten::swapdims", &["int = 1", "int = 2"]),
    ("aten::t", &[]),
    ("aten::tensor_split", &["int = 3", "int = 1"]),
    ("aten::tile", &["int[] = [2, 1]"]),
    ("aten::transpose", &["int = 1", "int = 3"]),
    ("aten::unbind", &["int = 1"]),
    ("aten::unflatten", &["int = 1", "int[] = [2, 2]"]),
    ("aten::unsafe_chunk", &["int = 2", "int = 1"]),
    ("aten::unsafe_split", &["int = 3", "int = 2"]),
    (
        "aten::unsafe_split_with_sizes",
        &["int[] = [1, 3]", "int = 1"],
    ),
    ("aten::unsqueeze", &["int = 2"]),
    ("aten::view", &["int[] = [4, 36]"]),
    ("aten::view_as", &["Tensor = random<Float(4, 36), seed=1>"]),
    (
        "aten::constant_pad_nd",
        &["int[] = [1, 0, 0, 2]", "int = 0"],
    ),
    (
        "aten::pad",
        &["int[] = [1, 0, 0, 2]", "str = \"reflect\"", "NoneType"],
    ),
    ("aten::reflection_pad1d", &["int[] = [1, 2]"]),
    ("aten::reflection_pad2d", &["int[] = [1, 2, 0, 1]"]),
    ("aten::replication_pad1d", &["int[] = [1, 2]"]),
    ("aten::replication_pad2d", &["int[] = [1, 2, 0, 1]"]),
    ("aten::dropout", &["float = 0.5", "bool = False"]),
    ("aten::max_pool2d", &POOL),
    ("aten::relu", &[]),
    ("prim::unchecked_cast", &[]),
];

const POOL: [&str; 5] = [
    "int[] = [2, 2]",
    "int[] = [1, 1]",
    "int[] = [1, 1]",
    "int[] = [1, 1]",
    "bool = False",
];

#[test]
fn what_computes_nothing_gives_the_same_before_dequantizing_as_after() {
    let listed = MOVES_ELEMENTS.iter().chain(&PADS_ELEMENTS);
    let mut missing: Vec<&str> = listed.chain(&CHOOSES_ELEMENTS).copied().collect();
    // Like its sister with two dimensions.
    missing.retain(|op| !["aten::max_pool1d", "aten::max_pool3d"].contains(op));
    for (op, operands) in OPERANDS {
        missing.retain(|listed| *listed != op);
        let sizes = match op {
            "aten::t" => "4, 6",
            "aten::reflection_pad1d" | "aten::replication_pad1d" => "4, 6, 6",
            _ => "1, 4, 6, 6",
        };
        let codes = answer(op, operands, sizes, true);
        let floats = answer(op, operands, sizes, false);
        assert_eq!(codes.len(), floats.len(), "{op}");
        for (codes, floats) in codes.iter().zip(&floats) {
            assert_eq!(codes.shape(), floats.shape(), "{op}");
            assert_eq!(codes.bytes(), floats.bytes(), "{op}");
        }
    }
    assert!(missing.is_empty(), "no operands for {missing:?}");
}

/// What an operator gives for a quantized tensor, as floats: computed before dequantizing, or after.
fn answer(op: &str, operands: &[&str], sizes: &str, on_codes: bool) -> Vec<Tensor> {
    let mut text = format!(
        "graph():\n  %q : Tensor = prim::Constant[value=random<QUInt8({sizes}), scale=0.1, zero_point=3, seed=7>]()\n  %f : Tensor = aten::dequantize(%q)\n"
    );
    let mut names = vec![if on_codes { "%q" } else { "%f" }.to_owned()];
    for (at, operand) in operands.iter().enumerate() {
        let constant = match operand.split_once(" = ") {
            Some((ty, value)) => format!("  %c{at} : {ty} = prim::Constant[value={value}]()\n"),
            None => format!("  %c{at} : {operand} = prim::Constant()\n"),
        };
        text.push_str(&constant);
        names.push(format!("%c{at}"));
    }
    let lists = ["chunk", "split", "unbind"];
    let ty = if lists.iter().any(|list| op.contains(list)) {
        "Tensor[]"
    } else {
        "Tensor"
    };
    let names = names.join(", ");
    let text = text + &format!("  %y : {ty} = {op}({names})\n  return (%y)\n");
    let graph = parse_graph(&text).unwrap_or_else(|errors| panic!("{op}: {errors}"));
    let answer = run_graph(&graph, &[], Contract::Fbgemm);
    let answer = answer.unwrap_or_else(|error| panic!("{op}: {error}"));
    let literal = to_literal(&answer[0]).expect("tensors");
    let tensors = match literal {
        Literal::List(_, items) => items.to_vec(),
        one => vec![one],
    };
    tensors.iter().map(dequantized).collect()
}

fn dequantized(tensor: &Literal) -> Tensor {
    let graph = "graph(%q : Tensor):\n  %f : Tensor = aten::dequantize(%q)\n  return (%f)\n";
    let graph = parse_graph(graph).expect("valid text");
    let floats = run_graph(&graph, &[Value::from(tensor)], Contract::Fbgemm).expect("a tensor");
    match to_literal(&floats[0]) {
        Ok(Literal::Tensor(tensor)) => tensor,
        other => panic!("a tensor, not {other:?}"),
    }
}

#[test]
fn what_stays_behind_a_dequantize_is_told_with_the_reason() {
    for (body, expected) in [
        (
            "%y : Tensor = aten::slice(%f, %one, %one, %three, %one)
             %r : Tensor = aten::neg(%y)",
            "aten::slice %y: aten::neg %r, which reads it, stays in float",
        ),
        (
            "%y : Tensor = aten::slice(%f, %one, %one, %three, %one)
             %n : Tensor = aten::relu_(%y)
             %r : Tensor = aten::quantize_per_tensor(%n, %scale, %three, %quint8)",
            "aten::slice %y: something writes to %f",
        ),
        (
            "%four : int[] = prim::Constant[value=[2, 4]]()
             %no : bool = prim::Constant[value=False]()
             %y : Tensor = aten::expand(%f, %four, %no)
             %r : Tensor = aten::quantize_per_tensor(%y, %other, %three, %quint8)",
            "aten::expand %y: aten::expand may give more elements than it reads, which would cost more to dequantize",
        ),
        (
            "%pads : int[] = prim::Constant[value=[1, 1]]()
             %y : Tensor = aten::constant_pad_nd(%f, %pads, %one)
             %r : Tensor = aten::quantize_per_tensor(%y, %other, %three, %quint8)",
            "aten::constant_pad_nd %y: it puts other numbers around than zeros",
        ),
        (
            "%g : Tensor = aten::neg(%f)
             %y : Tensor = aten::slice(%g, %one, %one, %three, %one)
             %r : Tensor = aten::quantize_per_tensor(%y, %other, %three, %quint8)",
            "aten::slice %y: no rule takes a quantize right behind %g",
        ),
    ] {
        let text = format!(
            "module __torch__.Net {{
            }}
            class __torch__.Net {{
              method forward(self, x) {{
                graph(%self : __torch__.Net, %x : Tensor):
                  %scale : float = prim::Constant[value=0.05]()
                  %other : float = prim::Constant[value=0.1]()
                  %one : int = prim::Constant[value=1]()
                  %three : int = prim::Constant[value=3]()
                  %quint8 : int = prim::Constant[value=13]()
                  %q : Tensor = aten::quantize_per_tensor(%x, %scale, %three, %quint8)
                  %f : Tensor = aten::dequantize(%q)
                  {body}
                  return (%r)
              }}
            }}"
        );
        let mut module: GraphModule =
            planish_ir::text::parse_module(&text).unwrap_or_else(|errors| panic!("{errors}"));
        let options = Options::default();
        let mut remarks = Remarks::default();
        let mut cx = PassCx {
            remarks: &mut remarks,
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &options,
            observer: None,
        };
        Pipeline::new(FINALIZE)
            .run(&mut module, &mut cx, &mut ())
            .unwrap_or_else(|error| panic!("{error}"));
        let coverage = Coverage::of(&module, &options, &remarks).expect("nothing is preserved");
        let told: Vec<String> = coverage
            .float
            .iter()
            .map(|op| format!("{} {}: {}", op.op, op.value, op.reason))
            .collect();
        assert!(
            told.iter().any(|told| told == expected),
            "{expected}\n{told:#?}"
        );
    }
}
