//! Code: control flow, collections, classes.

use planish_import::read;
use planish_ir::Sym;
use planish_ir::text::parse_graph;

use crate::archive::{object, of_code, pack, pickle};
use crate::{check, compare, import};

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
