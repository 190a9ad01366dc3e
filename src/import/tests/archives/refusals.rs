//! What is refused, and where the words say it is; nothing of it is a panic.

use std::fmt::Write;

use bytes::Bytes;
use planish_import::read;

use crate::archive::{P, call, codes, object, of_code, pack, pickle, tensor};
use crate::{code_error, error, import};

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
        (
            "return n",
            "3:12: the returned value: expected Tensor, found int",
        ),
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
