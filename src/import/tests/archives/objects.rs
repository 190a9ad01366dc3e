//! Objects: modules that restore themselves, constants of frozen ones, what is shared.

use bytes::Bytes;
use planish_ir::{Literal, PackedKind, Sym};

use crate::archive::{P, call, codes, ints, object, pack, pickle, tensor};
use crate::{error, import};

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
  label : Final[str] = CONSTANTS.c1
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
    let label = &model.classes[&Sym::new("__torch__.M")].constants[&Sym::new("label")];
    assert_eq!(*label, Literal::str("naïve"), "a constant of the class too");
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
