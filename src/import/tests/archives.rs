//! What archives hold besides what the oracle cases show: control flow, classes, packed weights,
//! modules that restore themselves; and what is refused.

mod archive;
mod compare;
mod hostile;
mod registered;

use std::fmt::Write;

use archive::{P, call, codes, ints, object, of_code, pack, pickle, tensor};
use bytes::Bytes;
use planish_import::read;
use planish_ir::text::parse_graph;
use planish_ir::{Graph, GraphModule, Literal, PackedKind, Sym};

fn import(bytes: Bytes) -> GraphModule {
    let model = read(bytes, "m.pt").unwrap_or_else(|error| panic!("failed to {error}"));
    planish_ir::verify(&model).unwrap();
    model
}

/// The root's `forward` in an archive with this code.
fn forward(code: &str) -> Graph {
    let model = import(of_code("4", code));
    let method = model.root_method("forward").unwrap();
    model.method(method).graph.clone()
}

/// Imports `forward(self, x: Tensor, n: int)` with this body and compares it with a graph.
fn check(returns: &str, body: &str, wanted: &str) {
    let body = body.trim().replace('\n', "\n    ");
    let code = format!(
        "class M(Module):\n  def forward(self: __torch__.M, x: Tensor, n: int) -> {returns}:\n    {body}\n"
    );
    let found = forward(&code);
    let wanted = parse_graph(wanted).unwrap_or_else(|error| panic!("{error}"));
    if let Err(difference) = compare::same_graph(&found, &wanted) {
        panic!("{difference}\n{}", planish_ir::text::canonical(&found));
    }
}

fn error(bytes: Bytes) -> String {
    read(bytes, "m.pt").unwrap_err().to_string()
}

/// The error of importing `forward(self, x: Tensor, n: int) -> Tensor` with this body.
fn code_error(body: &str) -> String {
    let body = body.trim().replace('\n', "\n    ");
    error(of_code(
        "3",
        &format!(
            "class M(Module):\n  def forward(self: __torch__.M, x: Tensor, n: int) -> Tensor:\n    {body}\n"
        ),
    ))
}

#[test]
fn a_while_loop_carries_its_condition() {
    check(
        "Tensor",
        "
go = torch.gt(n, 0)
y = x
k = n
while go:
  y = torch.relu(y)
  k = torch.sub(k, 1)
  go = torch.gt(k, 0)
return y
",
        "graph(%self : __torch__.M, %x : Tensor, %n : int):
  %max : int = prim::Constant[value=9223372036854775807]()
  %0 : int = prim::Constant[value=0]()
  %1 : int = prim::Constant[value=1]()
  %go : bool = aten::gt(%n, %0)
  %y : Tensor, %k : int = prim::Loop(%max, %go, %x, %n)
    block0(%i : int, %y.1 : Tensor, %k.1 : int):
      %y.2 : Tensor = aten::relu(%y.1)
      %k.2 : int = aten::sub(%k.1, %1)
      %go.1 : bool = aten::gt(%k.2, %0)
      -> (%go.1, %y.2, %k.2)
  return (%y)
",
    );
}

#[test]
fn branches_merge_what_both_know() {
    check(
        "Tensor",
        "
if torch.gt(n, 0):
  only_here = torch.relu(x)
  y = torch.neg(only_here)
  z = x
else:
  y = x
  z = x
return torch.add(y, z)
",
        "graph(%self : __torch__.M, %x : Tensor, %n : int):
  %0 : int = prim::Constant[value=0]()
  %1 : int = prim::Constant[value=1]()
  %c : bool = aten::gt(%n, %0)
  %y : Tensor = prim::If(%c)
    block0():
      %a : Tensor = aten::relu(%x)
      %b : Tensor = aten::neg(%a)
      -> (%b)
    block1():
      -> (%x)
  %r : Tensor = aten::add(%y, %x, %1)
  return (%r)
",
    );
}

#[test]
fn outputs_stand_in_the_order_of_their_first_use() {
    check(
        "Tensor",
        "
if torch.gt(n, 0):
  a = torch.relu(x)
  b = torch.neg(x)
else:
  a = x
  b = x
return torch.add(torch.sigmoid(b), a)
",
        "graph(%self : __torch__.M, %x : Tensor, %n : int):
  %0 : int = prim::Constant[value=0]()
  %1 : int = prim::Constant[value=1]()
  %c : bool = aten::gt(%n, %0)
  %b : Tensor, %a : Tensor = prim::If(%c)
    block0():
      %a.1 : Tensor = aten::relu(%x)
      %b.1 : Tensor = aten::neg(%x)
      -> (%b.1, %a.1)
    block1():
      -> (%x, %x)
  %s : Tensor = aten::sigmoid(%b)
  %r : Tensor = aten::add(%s, %a, %1)
  return (%r)
",
    );
}

#[test]
fn collections_and_conversions() {
    check(
        "Tuple[Tensor, Dict[str, Tensor]]",
        "
a, b, = torch.chunk(x, 2)
k = annotate(int, torch.select(x, 0, 0))
none = annotate(Optional[Tensor], None)
empty = annotate(List[int], [])
_0 = torch.append(empty, k)
y = torch.max_pool2d(a, 2)
t = (a, b, y)
z = torch.cat([(t)[0], (t)[-1]])
w = torch.view(z, empty)
return (torch.linear(w, b, none), {\"w\": w})
",
        "graph(%self : __torch__.M, %x : Tensor, %n : int):
  %0 : int = prim::Constant[value=0]()
  %1 : int = prim::Constant[value=1]()
  %2 : int = prim::Constant[value=2]()
  %e : int[] = prim::Constant[value=annotate(List[int], [])]()
  %p : int[] = prim::Constant[value=[0, 0]]()
  %d : int[] = prim::Constant[value=[1, 1]]()
  %f : bool = prim::Constant[value=0]()
  %none : Tensor? = prim::Constant()
  %key : str = prim::Constant[value=\"w\"]()
  %l : Tensor[] = aten::chunk(%x, %2, %0)
  %a : Tensor, %b : Tensor = prim::ListUnpack(%l)
  %s : Tensor = aten::select(%x, %0, %0)
  %k : int = aten::IntImplicit(%s)
  %empty : int[] = prim::ListConstruct()
  %_ : int[] = aten::append(%empty, %k)
  %k2 : int[] = prim::ListConstruct(%2, %2)
  %y : Tensor = aten::max_pool2d(%a, %k2, %e, %p, %d, %f)
  %ts : Tensor[] = prim::ListConstruct(%a, %y)
  %z : Tensor = aten::cat(%ts, %0)
  %w : Tensor = aten::view(%z, %empty)
  %r : Tensor = aten::linear(%w, %b, %none)
  %dict : Dict(str, Tensor) = prim::DictConstruct(%key, %w)
  %out : (Tensor, Dict(str, Tensor)) = prim::TupleConstruct(%r, %dict)
  return (%out)
",
    );
}

#[test]
fn functions_named_tuples_and_enums() {
    // Not verified: to the verifier an enum's class is no `AnyEnumType`.
    let archive = of_code(
        "3",
        "class P(NamedTuple):
  a : Tensor
  b : Optional[Tensor]
class Color(Enum):
  RED = 1
  BLUE = 2
class M(Module):
  def forward(self: __torch__.M, x: Tensor) -> int:
    f = __torch__.double
    p = __torch__.P(f(x, ), None)
    c = __torch__.Color.BLUE
    q = (p).a
    return torch.add((c).value, torch.dim(q))
def double(x: Tensor, by: float=2.) -> Tensor:
  return torch.mul(x, by)
",
    );
    let model = read(archive, "m.pt").unwrap();
    let names: Vec<&str> = model.functions.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["__torch__.double"]);
    let forward = &model.method(model.root_method("forward").unwrap()).graph;
    let ops: Vec<&str> = forward
        .walk()
        .map(|n| forward.node(n).op().name().as_str())
        .collect();
    let ops: Vec<&str> = ops
        .into_iter()
        .filter(|op| *op != "prim::Constant")
        .collect();
    assert_eq!(
        ops,
        [
            "prim::CallFunction",
            "prim::EnumValue",
            "aten::dim",
            "aten::add"
        ]
    );
}

#[test]
fn script_classes_and_interfaces() {
    let code = "class Sum:
  total : Tensor
  def __init__(self: __torch__.Sum, x: Tensor) -> NoneType:
    self.total = x
    return None
  def add(self: __torch__.Sum, x: Tensor) -> Tensor:
    return torch.add(self.total, x)
class Scale(ModuleInterface):
  def scale(self, x: Tensor, by: float=2.) -> Tensor:
    pass
class Twice(Module):
  def scale(self: __torch__.Twice, x: Tensor, by: float=2.) -> Tensor:
    return torch.mul(x, by)
class M(Module):
  s : __torch__.Scale
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    sum = __torch__.Sum.__new__(__torch__.Sum)
    _0 = (sum).__init__(x, )
    y = (self.s).scale(x, )
    return (sum).add(y, )
";
    let root = pickle(&object("M", vec![("s", object("Twice", vec![]))]));
    let model = import(pack(
        "3",
        &[("data.pkl", &root), ("code/__torch__.py", code.as_bytes())],
    ));
    let methods = |class: &str| {
        let class = &model.classes[&Sym::new(class)];
        let names = class.methods.keys().map(|name| name.as_str());
        names.collect::<Vec<_>>()
    };
    assert_eq!(methods("__torch__.Sum"), ["__init__", "add"]);
    assert_eq!(methods("__torch__.Twice"), ["scale"]);
    let forward = &model.method(model.root_method("forward").unwrap()).graph;
    let wanted = "graph(%self : __torch__.M, %x : Tensor):
  %by : float = prim::Constant[value=2.]()
  %sum : __torch__.Sum = prim::CreateObject()
  %none : NoneType = prim::CallMethod[name=\"__init__\"](%sum, %x)
  %s : __torch__.Scale = prim::GetAttr[name=\"s\"](%self)
  %y : Tensor = prim::CallMethod[name=\"scale\"](%s, %x, %by)
  %r : Tensor = prim::CallMethod[name=\"add\"](%sum, %y)
  return (%r)
";
    compare::same_graph(forward, &parse_graph(wanted).unwrap()).unwrap();
}

/// What `torch.ao.nn.quantized.Conv2d` and `LinearPackedParams` look like when they are saved.
const EAGER: &str = r#"class Conv2d(Module):
  __parameters__ = []
  __buffers__ = []
  stride : Tuple[int, int]
  padding : Tuple[int, int]
  groups : int
  padding_mode : str
  scale : float
  zero_point : int
  training : bool
  _packed_params : __torch__.torch.classes.quantized.Conv2dPackedParamsBase
  def forward(self: __torch__.Conv2d, input: Tensor) -> Tensor:
    _packed_params = self._packed_params
    scale = self.scale
    zero_point = self.zero_point
    return ops.quantized.conv2d(input, _packed_params, scale, zero_point)
  def __getstate__(self: __torch__.Conv2d) -> Tensor:
    return ops.planish.unknown(self)
  def __setstate__(self: __torch__.Conv2d,
    state: Tuple[Tuple[int, int], Tuple[int, int], int, str, Tensor, Optional[Tensor], float, int, bool]) -> NoneType:
    self.stride = (state)[0]
    self.padding = (state)[1]
    self.groups = (state)[2]
    self.padding_mode = (state)[3]
    _0 = (self).set_weight_bias((state)[4], (state)[5], )
    self.scale = (state)[6]
    self.zero_point = (state)[7]
    self.training = (state)[8]
    return None
  def set_weight_bias(self: __torch__.Conv2d, w: Tensor, b: Optional[Tensor]) -> NoneType:
    if torch.eq(self.padding_mode, "zeros"):
      _1, _2, = self.stride
      _3, _4, = self.padding
      groups = self.groups
      _5 = ops.quantized.conv2d_prepack(w, b, [_1, _2], [_3, _4], [1, 1], groups)
      self._packed_params = _5
    else:
      ops.prim.RaiseException("padding_mode", "builtins.ValueError")
    return None
class LinearPackedParams(Module):
  training : bool
  _packed_params : __torch__.torch.classes.quantized.LinearPackedParamsBase
  def __setstate__(self: __torch__.LinearPackedParams, state: Tuple[Tensor, Optional[Tensor], bool]) -> NoneType:
    self._packed_params = ops.quantized.linear_prepack((state)[0], (state)[1])
    self.training = (state)[2]
    return None
class M(Module):
  conv : __torch__.Conv2d
  fc : __torch__.LinearPackedParams
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    conv = self.conv
    y = (conv).forward(x, )
    fc = self.fc
    return ops.quantized.linear(y, fc._packed_params, 0.5, 3)
"#;

fn eager(padding_mode: &'static str) -> Bytes {
    let conv = P::Tuple(vec![
        ints(&[2, 1]),
        ints(&[0, 1]),
        P::Int(1),
        P::Str(padding_mode),
        codes("0", &[2, 3, 1, 1], 0.25),
        tensor("Float", "1", &[2]),
        P::Float(0.125),
        P::Int(7),
        P::Bool(false),
    ]);
    let fc = P::Tuple(vec![codes("2", &[2, 2], 0.5), P::None, P::Bool(false)]);
    let root = object(
        "M",
        vec![
            ("conv", P::Object("Conv2d", Box::new(conv))),
            ("fc", P::Object("LinearPackedParams", Box::new(fc))),
        ],
    );
    let bias: Vec<u8> = [1f32, -1.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    pack(
        "3",
        &[
            ("data.pkl", &pickle(&root)),
            ("code/__torch__.py", EAGER.as_bytes()),
            ("data/0", &[1, 2, 3, 4, 5, 6]),
            ("data/1", &bias),
            ("data/2", &[1, 2, 3, 4]),
        ],
    )
}

#[test]
fn modules_restore_themselves() {
    let model = import(eager("zeros"));
    let conv = model.submodule(model.root(), Sym::new("conv")).unwrap();
    let attrs = &model.module(conv).attrs;
    assert_eq!(attrs[&Sym::new("zero_point")], Literal::Int(7));
    let Literal::Packed(packed) = &attrs[&Sym::new("_packed_params")] else {
        panic!("{attrs:?}")
    };
    let geometry = packed.geometry().unwrap();
    assert_eq!(
        (&geometry.stride[..], &geometry.padding[..]),
        (&[2, 1][..], &[0, 1][..])
    );
    assert_eq!(packed.weight.values::<i8>().unwrap(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        packed.bias.as_ref().unwrap().values::<f32>().unwrap(),
        [1.0, -1.0]
    );
    let fc = model.submodule(model.root(), Sym::new("fc")).unwrap();
    let Literal::Packed(packed) = &model.module(fc).attrs[&Sym::new("_packed_params")] else {
        panic!()
    };
    assert_eq!(
        (&packed.kind, packed.bias.is_none()),
        (&PackedKind::Linear, true)
    );
    let error = error(eager("reflect"));
    assert!(
        error.starts_with("rebuild `conv`: `__setstate__`:"),
        "{error}"
    );
}

#[test]
fn frozen_modules_keep_weights_in_constants() {
    let config: Vec<u8> = [2i16, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    let packed = P::Tuple(vec![
        P::Str("2"),
        call(
            "torch.jit._pickle",
            "build_tensorlist",
            vec![P::List(vec![
                tensor("Short", "0", &[11]),
                codes("1", &[1, 2, 1, 1], 0.5),
            ])],
        ),
        call(
            "torch.jit._pickle",
            "restore_type_tag",
            vec![P::List(vec![P::None]), P::Str("List[Optional[Tensor]]")],
        ),
    ]);
    let class = "torch.classes.quantized.Conv2dPackedParamsBase";
    let constants = P::Tuple(vec![P::Object(class, Box::new(packed)), P::Str("naïve")]);
    let code = "class M(Module):
  def forward(self: __torch__.M, x: Tensor) -> Tuple[Tensor, str]:
    y = ops.quantized.conv2d(x, CONSTANTS.c0, 0.5, 1)
    z = ops.quantized.conv2d(y, CONSTANTS.c0, 0.5, 1)
    return (z, CONSTANTS.c1)
";
    // A storage that is worth leaving where it is; most of it is outside the view.
    let mut weights = vec![3, 4];
    weights.resize(1 << 16, 0);
    let bytes = pack(
        "3",
        &[
            ("data.pkl", &pickle(&object("M", vec![]))),
            ("constants.pkl", &pickle(&constants)),
            ("constants/0", &config),
            ("constants/1", &weights),
            ("code/__torch__.py", code.as_bytes()),
        ],
    );
    let whole = bytes.as_ptr_range();
    let model = import(bytes.clone());
    let graph = &model.method(model.root_method("forward").unwrap()).graph;
    let literals: Vec<&Literal> = graph
        .walk()
        .filter_map(|n| graph.node(n).literal("value"))
        .collect();
    let packed: Vec<_> = literals
        .iter()
        .filter_map(|literal| match literal {
            Literal::Packed(packed) => Some(packed),
            _ => None,
        })
        .collect();
    assert_eq!(packed.len(), 1, "one constant for two uses");
    assert_eq!(packed[0].weight.values::<i8>().unwrap(), [3, 4]);
    assert!(
        whole.contains(&packed[0].weight.storage().as_ptr()),
        "large weights are not copied"
    );
    assert!(literals.contains(&&Literal::str("naïve")));
}

#[test]
fn shared_modules_and_storages_stay_shared() {
    let child = object("C", vec![("w", tensor("Float", "0", &[1]))]);
    let root = object(
        "M",
        vec![("a", P::Memo(0, Box::new(child))), ("b", P::Recall(0))],
    );
    let code =
        "class C(Module):\n  w : Tensor\nclass M(Module):\n  a : __torch__.C\n  b : __torch__.C\n";
    let bytes = pack(
        "3",
        &[
            ("data.pkl", &pickle(&root)),
            ("data/0", &1f32.to_le_bytes()),
            ("code/__torch__.py", code.as_bytes()),
        ],
    );
    let model = import(bytes);
    let child = |name| model.submodule(model.root(), Sym::new(name)).unwrap();
    assert_eq!(child("a"), child("b"));
    assert_eq!(model.modules().count(), 2);
}

#[test]
fn code_errors_name_the_place_and_the_matter() {
    for (body, wanted) in [
        (
            "return torch.no_such_op(x)",
            "code/__torch__.py:3:12: call `aten::no_such_op`: nobody declared it",
        ),
        (
            "return torch.relu(n)",
            "3:12: call `aten::relu`: no overload fits",
        ),
        ("return y", "3:12: name `y` is not defined"),
        (
            "return self.y",
            "class `__torch__.M` has no attribute or method `y`",
        ),
        (
            "return (self).y(x, )",
            "class `__torch__.M` has no attribute or method `y`",
        ),
        ("return n", "the returned value: expected Tensor, found int"),
        (
            "return CONSTANTS.c3",
            "the archive has no constant `CONSTANTS.c3`",
        ),
        ("return __torch__.f(x, )", "`__torch__.f` is not defined"),
        ("return annotate(Foo, x)", "type `Foo` is unknown"),
        (
            "return eval(x)",
            "a call of `eval` with 1 arguments is not supported",
        ),
        (
            "if x:\n  return x\nelse:\n  pass\nreturn x",
            "4:7: a return before the end",
        ),
        (
            "with x as y:\n  pass\nreturn x",
            "`with` of a value of type Tensor, which has no `__enter__`",
        ),
        (
            "y = fork(x)\nreturn x",
            "a fork of what is no nested function",
        ),
        (
            "y = (x).tolist()\nreturn x",
            "`tolist` without a declared type",
        ),
        (
            "for i in x:\n  pass\nreturn x",
            "a loop over what is no range",
        ),
        (
            "a, b, = n\nreturn x",
            "a value of type int does not have 2 parts",
        ),
        (
            "if x:\n  y = x\nelse:\n  pass\nreturn y",
            "name `y` is not defined",
        ),
    ] {
        let error = code_error(body);
        assert!(error.contains(wanted), "{body}: {error}");
    }
    let mut nested = String::from("t0 = (x, x)\n");
    for at in 1..60 {
        let _ = writeln!(nested, "t{at} = (t{0}, t{0})", at - 1);
    }
    nested.push_str("return x");
    assert!(code_error(&nested).contains("has too many parts"));
}

#[test]
fn object_errors_name_the_attribute() {
    let with = |attrs: Vec<(&'static str, P)>, fields: &str| {
        let code = format!("class M(Module):\n  __parameters__ = []\n{fields}");
        let root = pickle(&object("M", attrs));
        error(pack(
            "3",
            &[
                ("data.pkl", &root),
                ("code/__torch__.py", code.as_bytes()),
                ("data/0", &[0; 4]),
            ],
        ))
    };
    let tensor = |shape: &[i32]| tensor("Float", "0", shape);
    for (attrs, fields, wanted) in [
        (
            vec![],
            "  w : Tensor\n",
            "rebuild `<root>`: attribute `w` has no value",
        ),
        (
            vec![("v", P::None)],
            "",
            "rebuild `<root>`: class `__torch__.M` declares no attribute `v`",
        ),
        (
            vec![("w", tensor(&[2]))],
            "  w : Tensor\n",
            "rebuild `w`: storage `data/0` has 4 bytes, 8 are asked for",
        ),
        (
            vec![("w", tensor(&[-1]))],
            "  w : Tensor\n",
            "rebuild `w`: the tensor's storage has no size",
        ),
        (
            vec![(
                "p",
                P::Object(
                    "torch.classes.xnnpack.LinearOpContext",
                    Box::new(P::Tuple(vec![])),
                ),
            )],
            "  p : __torch__.torch.classes.xnnpack.LinearOpContext\n",
            "rebuild `p`: class `__torch__.torch.classes.xnnpack.LinearOpContext`: objects of this native class",
        ),
        (
            vec![("o", object("Gone", vec![]))],
            "  o : __torch__.Gone\n",
            "class `__torch__.Gone` has no code",
        ),
    ] {
        let error = with(attrs, fields);
        assert!(
            error.starts_with(wanted) || error.contains(wanted),
            "{error}"
        );
    }
}

#[test]
fn other_files_are_named() {
    for (bytes, wanted) in [
        (Bytes::new(), "import `m.pt`: it is empty"),
        (
            Bytes::from_static(b"\x80\x02}q\x00."),
            "it is a bare pickle, an old checkpoint",
        ),
        (
            Bytes::from_static(b"\x08\x08\x12\x07pytorch"),
            "it is an ONNX model",
        ),
        (Bytes::from_static(b"hello"), "it is no zip archive"),
        (
            pack("3", &[("data.pkl", b"\x80\x02}.")]),
            "it is a checkpoint of `torch.save`",
        ),
        (
            pack("3", &[("models/model.json", b"{}")]),
            "it is an exported program (.pt2)",
        ),
        (
            pack("3", &[("readme", b"")]),
            "it is a zip archive without a model",
        ),
        (
            Bytes::from_static(b"PK\x03\x04 broken"),
            "read the archive: ",
        ),
    ] {
        let error = error(bytes);
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn changed_pickles_and_code_never_panic() {
    let entries: Vec<(&str, Vec<u8>)> = vec![
        ("data.pkl", {
            let state = P::Tuple(vec![codes("2", &[2, 2], 0.5), P::None, P::Bool(false)]);
            pickle(&object("M", vec![
                ("fc", P::Object("LinearPackedParams", Box::new(state))),
                ("l", call("torch.jit._pickle", "build_intlist", vec![P::List(vec![P::Int(1)])])),
                ("w", tensor("Float", "1", &[1, 2])),
            ]))
        }),
        ("code/__torch__.py", b"class LinearPackedParams(Module):
  training : bool
  p : __torch__.torch.classes.quantized.LinearPackedParamsBase
  def __setstate__(self: __torch__.LinearPackedParams, state: Tuple[Tensor, Optional[Tensor], bool]) -> NoneType:
    self.p = ops.quantized.linear_prepack((state)[0], (state)[1])
    self.training = (state)[2]
    return None
class M(Module):
  fc : __torch__.LinearPackedParams
  l : List[int]
  w : Tensor
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    y = x
    for i in range(3):
      if torch.gt(i, 1):
        y = torch.add(y, self.w, alpha=2)
      else:
        y, x = x, y
    return y
".to_vec()),
        ("data/1", vec![0; 8]),
        ("data/2", vec![1; 4]),
    ];
    let import = |changed: usize, content: Vec<u8>| {
        let mut entries: Vec<(&str, &[u8])> = entries.iter().map(|(n, c)| (*n, &c[..])).collect();
        entries[changed].1 = &content;
        read(pack("3", &entries), "m.pt").map(drop)
    };
    import(0, entries[0].1.clone()).unwrap();
    for (which, alphabet) in [
        (0, &b"\x00\x01\x05.(tNRQbK\xff"[..]),
        (1, b"\n (),:=.-[]x0\""),
    ] {
        let original = &entries[which].1;
        for at in 0..original.len() {
            for new in alphabet {
                let mut changed = original.clone();
                changed[at] = *new;
                let _: Result<(), _> = import(which, changed);
            }
            let mut shorter = original.clone();
            shorter.remove(at);
            let _: Result<(), _> = import(which, shorter);
        }
    }
}

#[test]
fn the_deepest_nesting_allowed_fits_a_small_stack() {
    let nest = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
    };
    let list = nest("annotate(List[int], [", "n", "])", 50);
    assert!(code_error(&format!("y = {list}\nreturn x")).contains("expected elements of type int"));
    let tuple = nest("(", "x", ",)", 110);
    let calls = nest("torch.relu(", "x", ")", 55);
    let mut body = format!("t = {tuple}\ny = {calls}\n");
    for level in 0..100 {
        let _ = writeln!(body, "{}if torch.gt(n, {level}):", "  ".repeat(level));
    }
    let _ = writeln!(body, "{}y = x", "  ".repeat(100));
    for level in (0..100).rev() {
        let _ = writeln!(body, "{0}else:\n{0}  pass", "  ".repeat(level));
    }
    body.push_str("return y");
    let code = format!(
        "class M(Module):\n  def forward(self: __torch__.M, x: Tensor, n: int) -> Tensor:\n    {}\n",
        body.replace('\n', "\n    ")
    );
    import(of_code("3", &code));

    let mut module = object("L", vec![]);
    for _ in 0..120 {
        module = object("M", vec![("m", module)]);
    }
    let code = "class M(Module):\n  m : __torch__.I\nclass I(ModuleInterface):\n  def f(self, x: Tensor) -> Tensor:\n    pass\nclass L(Module):\n  __parameters__ = []\n";
    let model = import(pack(
        "3",
        &[
            ("data.pkl", &pickle(&module)),
            ("code/__torch__.py", code.as_bytes()),
        ],
    ));
    assert_eq!(model.modules().count(), 121);
}
