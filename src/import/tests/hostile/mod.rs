//! Files that were made to do harm, or were damaged: each is refused in little time and memory, with
//! what is wrong, where, and what to do if anything can be done.

use crate::archive::{P, call, ints, object, of_code, pack, pickle, storage, tensor};
use bytes::Bytes;
use planish_import::read;

fn error(bytes: Bytes) -> String {
    read(bytes, "m.pt").unwrap_err().to_string()
}

/// The error of reading `data.pkl` beside a class `M` with these members.
fn of_pickle(stream: &[u8], members: &str) -> String {
    let code = format!("class M(Module):\n  __parameters__ = []\n{members}");
    error(pack(
        "3",
        &[
            ("data.pkl", stream),
            ("code/__torch__.py", code.as_bytes()),
            ("data/0", &[0; 64]),
        ],
    ))
}

/// The error of a module whose attribute `w`, of this type, is this value.
fn of_attribute(ty: &str, value: P) -> String {
    let root = pickle(&object("M", vec![("w", value)]));
    of_pickle(&root, &format!("  w : {ty}\n"))
}

/// A view of `data/0`, which has 16 floats.
fn view(numel: P, offset: P, shape: P, strides: P) -> P {
    let P::Persistent(parts) = storage("Float", "0", &[16]).0 else {
        unreachable!("storages are persistent");
    };
    let P::Tuple(mut parts) = *parts else {
        unreachable!("and named by a tuple");
    };
    parts[4] = numel;
    let storage = P::Persistent(Box::new(P::Tuple(parts)));
    let hooks = call("collections", "OrderedDict", vec![]);
    let args = vec![storage, offset, shape, strides, P::Bool(false), hooks];
    call("torch._utils", "_rebuild_tensor_v2", args)
}

#[test]
fn modules_that_contain_themselves() {
    let inner = object("M", vec![("b", P::Recall(0))]);
    let P::Object(class, state) = object("M", vec![("a", inner)]) else {
        unreachable!("this is an object");
    };
    // The object is remembered before its state is built, as PyTorch writes it.
    let root = P::MemoObject(0, class, state);
    assert_eq!(
        of_pickle(&pickle(&root), "  a : __torch__.M\n  b : __torch__.M\n"),
        "rebuild `a.b`: this is `<root>` itself, and nothing may contain itself"
    );
}

#[test]
fn ten_thousand_levels() {
    let modules = [
        b"\x80\x02".to_vec(),
        b"c__torch__\nM\n)\x81}X\x01\x00\x00\x00a".repeat(10_000),
        b"N".to_vec(),
        b"sb".repeat(10_000),
        b".".to_vec(),
    ];
    let deep = of_pickle(&modules.concat(), "  a : __torch__.M\n");
    assert!(
        deep.starts_with("rebuild `…") && deep.ends_with("nest deeper than 256 levels"),
        "{deep}"
    );

    let code = |body: &str| {
        let code = format!(
            "class M(Module):\n  def forward(self: __torch__.M, x: Tensor) -> Tensor:\n    {body}\n"
        );
        error(of_code("3", &code))
    };
    let nest = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000))
    };
    // The text of nested blocks grows with the square of their number.
    let mut blocks = String::new();
    for level in 0..1_000 {
        let indent = " ".repeat(level);
        blocks += &[&*indent, "if x:\n    ", &*indent].concat();
    }
    for body in [
        format!("return {}", nest("(", "x", ")")),
        format!("return x{}", ".a".repeat(10_000)),
        format!("y = {}", nest("[", "x", "]")),
        format!("y = annotate({}, x)", nest("List[", "int", "]")),
        blocks,
    ] {
        let error = code(&body);
        assert!(
            error.starts_with("read code at code/__torch__.py:"),
            "{error}"
        );
        assert!(
            error.ends_with(": code nests deeper than 120 levels"),
            "{error}"
        );
    }
    let tag = nest("List[", "int", "]");
    let tagged = P::Tuple(vec![P::List(vec![]), P::Text(tag)]);
    let tagged = P::Call("torch.jit._pickle", "restore_type_tag", Box::new(tagged));
    assert_eq!(
        of_attribute("List[int]", tagged),
        "read code at type tag:1:601: code nests deeper than 120 levels"
    );
}

#[test]
fn claims_beyond_what_is_there() {
    let large = 1 << 30;
    let tensor = |shape: &[i32]| of_attribute("Tensor", tensor("Float", "0", shape));
    assert_eq!(
        tensor(&[large]),
        "rebuild `w`: storage `data/0` has 64 bytes, 4294967296 are asked for"
    );
    let of_view = |numel, offset, shape, strides| {
        of_attribute(
            "Tensor",
            view(P::Int(numel), P::Int(offset), ints(shape), ints(strides)),
        )
    };
    for (error, wanted) in [
        (
            of_view(16, 0, &[large, 4], &[0, 0]),
            "views that repeat their storage, and scales, take more than 1 GiB with this one; save expanded tensors with `contiguous()`",
        ),
        (
            of_view(16, 0, &[4, 5], &[4, 1]),
            "view 68 bytes of a storage of 64 bytes (shape [4, 5], strides [4, 1])",
        ),
        (
            of_view(16, 16, &[1], &[1]),
            "view 68 bytes of a storage of 64 bytes (shape [1], strides [1])",
        ),
        (
            of_view(16, -1, &[1], &[1]),
            "view 0 bytes of a storage of 64 bytes (shape [1], strides [1])",
        ),
        (
            of_view(16, 0, &[2, -2], &[1, 1]),
            "make a tensor of shape [2, -2] with strides [1, 1]",
        ),
        (
            of_view(-1, 0, &[1], &[1]),
            "the tensor's storage has no size",
        ),
        (
            of_view(16, 0, &[1], &[1, 1]),
            "make a tensor of shape [1] with strides [1, 1]",
        ),
    ] {
        assert_eq!(error, format!("rebuild `w`: {wanted}"));
    }
    // Each is within the limit, all together are not.
    let expanded = view(P::Int(16), P::Int(0), ints(&[1 << 26]), ints(&[0]));
    let mut many = vec![P::Memo(0, Box::new(expanded))];
    many.resize(5, P::Recall(0));
    let error = of_attribute("List[Tensor]", P::List(many));
    assert!(
        error.contains("take more than 1 GiB with this one"),
        "{error}"
    );
}

#[test]
fn scales_that_few_bytes_repeat() {
    // Four bytes of pickle repeat 256 MiB of scales, which eight bytes of storage repeat.
    let channels = 1 << 25;
    let repeated = |element: &'static str, key: &'static str| {
        let (storage, _) = storage(element, key, &[8]);
        let strides = ints(&[0]);
        let hooks = call("collections", "OrderedDict", vec![]);
        let args = vec![
            storage,
            P::Int(0),
            ints(&[channels]),
            strides,
            P::Bool(false),
            hooks,
        ];
        call("torch._utils", "_rebuild_tensor_v2", args)
    };
    let scheme = P::Global("torch", "per_channel_affine");
    let scales = repeated("Double", "0");
    let qparams = P::Tuple(vec![scheme, scales, repeated("Long", "0"), P::Int(0)]);
    let (codes, _) = storage("QInt8", "0", &[64]);
    let args = vec![codes, P::Int(0), ints(&[channels]), ints(&[0]), qparams];
    let weight = call("torch._utils", "_rebuild_qtensor", args);
    let many = P::Tuple(vec![
        P::Memo(0, Box::new(weight)),
        P::Recall(0),
        P::Recall(0),
    ]);
    let error = of_attribute("Tuple[Tensor, Tensor, Tensor]", many);
    assert!(
        error.contains("take more than 1 GiB with this one"),
        "{error}"
    );
}

#[test]
fn too_much_code() {
    let comment = format!("#{}\n", "x".repeat(17 << 20));
    assert_eq!(
        error(of_code("3", &comment)),
        "read entry `code/__torch__.py`: brings the archive's code beyond 16777216 bytes"
    );
}

#[test]
fn names_that_come_twice() {
    let twice = object("M", vec![("a", P::None), ("a", P::None)]);
    assert_eq!(
        of_pickle(&pickle(&twice), "  a : Optional[int]\n"),
        "rebuild `<root>`: attribute `a` has two values"
    );
    let root = pickle(&object("M", vec![]));
    assert_eq!(
        error(pack("3", &[("data.pkl", &root), ("data.pkl", &root)])),
        "read entry `data.pkl`: occurs twice"
    );
}

#[test]
fn storages_of_no_known_kind() {
    let parts = |parts: Vec<P>| {
        let storage = P::Persistent(Box::new(P::Tuple(parts)));
        let args = vec![storage, P::Int(0), ints(&[1]), ints(&[1])];
        of_attribute("Tensor", call("torch._utils", "_rebuild_tensor_v2", args))
    };
    let layout = "rebuild `w`: the tensor's storage has a wrong layout";
    for (tag, class, key, wanted) in [
        (
            "storage",
            "FooStorage",
            "0",
            "rebuild `w`: storages of `Foo` are not supported",
        ),
        ("module", "FloatStorage", "0", layout),
        ("storage", "device", "0", layout),
        (
            "storage",
            "FloatStorage",
            "9",
            "read entry `data/9`: is missing",
        ),
        (
            "storage",
            "FloatStorage",
            "../version",
            "read entry `data/../version`: is missing",
        ),
    ] {
        let global = P::Global("torch", class);
        let found = parts(vec![
            P::Str(tag),
            global,
            P::Str(key),
            P::Str("cpu"),
            P::Int(1),
        ]);
        assert_eq!(found, wanted);
    }
    assert_eq!(
        parts(vec![P::Str("storage")]),
        "rebuild `w`: the tensor has no storage"
    );
}

#[test]
fn what_calls_a_method_that_is_left_out_is_left_out_too() {
    let code = "class Sub(Module):
  __parameters__ = []
  def broken(self: __torch__.Sub, x: Tensor) -> Tensor:
    return torch.no_such_op(x)
  def caller(self: __torch__.Sub, x: Tensor) -> Tensor:
    return (self).broken(x, )
  def fine(self: __torch__.Sub, x: Tensor) -> Tensor:
    return x
class M(Module):
  s : __torch__.Sub
  def forward(self: __torch__.M, x: Tensor) -> Tensor:
    return (self.s).fine(x, )
";
    let root = pickle(&object("M", vec![("s", object("Sub", vec![]))]));
    let archive = pack(
        "3",
        &[("data.pkl", &root), ("code/__torch__.py", code.as_bytes())],
    );
    let model = read(archive, "m.pt").unwrap();
    planish_ir::verify(&model).unwrap();
    let class = &model.classes[&planish_ir::Sym::new("__torch__.Sub")];
    let methods: Vec<&str> = class.methods.keys().map(|name| name.as_str()).collect();
    assert_eq!(methods, ["fine"]);
}
