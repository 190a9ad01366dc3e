use super::*;
use crate::torchscript::code::ast::{Stmt, StmtKind};

fn error(text: &str) -> String {
    parse("code/a.py", text).unwrap_err().to_string()
}

fn body(text: &str) -> Vec<Stmt> {
    let indented = text.replace('\n', "\n  ");
    let text = format!("def f(x: Tensor) -> Tensor:\n  {indented}\n");
    let file = parse("code/a.py", &text).unwrap();
    match file.items.into_iter().next() {
        Some(Item::Function(function)) => function.body,
        other => panic!("{other:?}"),
    }
}

fn value(text: &str) -> ExprKind {
    match body(&format!("return {text}")).remove(0).kind {
        StmtKind::Return(Some(expr)) => expr.kind,
        other => panic!("{other:?}"),
    }
}

const FILE: &str = r#"class M(Module):
  __parameters__ = ["weight", ]
  __buffers__ = []
  weight : Tensor
  c : __torch__.a.___torch_mangle_8.Conv2d
  __annotations__["x.2_scale_0"] = float
  stride : Final[Tuple[int, int]] = (1, 1)
  def forward(s: __torch__.a.M,
    x: Tensor,
    n: Optional[int]=None) -> Tensor:
    scale = getattr(s, "x.2_scale_0")
    _0 = (s)._conv_forward(x, scale, )
    a, b, = torch.chunk(_0, 2, 1)
    if torch.__is__(n, None):
      y = torch.add(a, b, alpha=2)
    else:
      y, z = a, b
      pass
    for i in range(3):
      y = torch.relu(y)
    return y
class E(Enum):
  RED = 1
def g(x: Tensor) -> NoneType:
  return None
"#;

#[test]
fn reads_classes_and_functions() {
    let file = parse("code/a.py", FILE).unwrap();
    let [Item::Class(m), Item::Class(e), Item::Function(g)] = &file.items[..] else {
        panic!("{file:?}")
    };
    assert_eq!((m.base, e.base), (Base::Module, Base::Enum));
    assert_eq!(m.parameters, ["weight"]);
    let fields: Vec<&str> = m.fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(fields, ["weight", "c", "x.2_scale_0", "stride"]);
    assert!(m.fields[3].value.is_some() && m.fields[2].value.is_none());
    assert_eq!(
        m.fields[1].ty.as_ref().unwrap().dotted().unwrap(),
        "__torch__.a.___torch_mangle_8.Conv2d"
    );
    let forward = &m.methods[0];
    assert_eq!((forward.params.len(), forward.body.len()), (3, 6));
    assert!(forward.params[2].default.is_some());
    assert_eq!(
        forward.body[0].span,
        Span {
            line: 11,
            column: 5
        }
    );
    let StmtKind::Assign(unpack) = &forward.body[2].kind else {
        panic!("{forward:?}")
    };
    assert!(unpack.unpack && unpack.targets.len() == 2 && unpack.values.len() == 1);
    let StmtKind::If { then, other, .. } = &forward.body[3].kind else {
        panic!("{forward:?}")
    };
    assert_eq!((then.len(), other.len()), (1, 2));
    assert_eq!(g.name, "g");
}

#[test]
fn reads_numbers_and_strings() {
    assert_eq!(value("-9223372036854775808"), ExprKind::Int(i64::MIN));
    assert_eq!(value("9223372036854775807"), ExprKind::Int(i64::MAX));
    assert_eq!(value("1."), ExprKind::Float(1.0));
    assert_eq!(value("-1.0000000000000001e-05"), ExprKind::Float(-1e-5));
    assert_eq!(value("-inf"), ExprKind::Float(f64::NEG_INFINITY));
    assert_eq!(value("1.-2.j"), ExprKind::Complex(1.0, -2.0));
    assert_eq!(value("0.+2.j"), ExprKind::Complex(0.0, 2.0));
    let text = r#""a\n\t\\\"\'\303\251""#;
    assert_eq!(value(text), ExprKind::Str("a\n\t\\\"'é".into()));
    assert!(matches!(value("nan"), ExprKind::Float(v) if v.is_nan()));
}

#[test]
fn reads_brackets() {
    assert_eq!(value("()"), ExprKind::Tuple(vec![]));
    assert!(matches!(value("(x)"), ExprKind::Name(_)));
    assert!(matches!(value("(x,)"), ExprKind::Tuple(items) if items.len() == 1));
    assert!(matches!(value("[x, x, ]"), ExprKind::List(items) if items.len() == 2));
    assert!(matches!(value("{x: 1, y: 2}"), ExprKind::Dict(pairs) if pairs.len() == 2));
    assert!(matches!(value("x[1:]"), ExprKind::Slice(_, Some(_), None)));
    assert!(matches!(value("x[:2]"), ExprKind::Slice(_, None, Some(_))));
    let ExprKind::Index(_, types) = value("Dict[str, List[int]]") else {
        panic!()
    };
    assert!(matches!(types.kind, ExprKind::Tuple(items) if items.len() == 2));
}

#[test]
fn errors_name_file_line_and_construct() {
    let code = |line: &str| error(&format!("def f(x: Tensor) -> Tensor:\n  {line}\n"));
    assert_eq!(
        code("assert x"),
        "read code at code/a.py:2:3: `assert` is not part of the accepted subset"
    );
    assert_eq!(
        code("return lambda x"),
        "read code at code/a.py:2:10: `lambda` is not part of the accepted subset"
    );
    assert_eq!(
        error("import torch\n"),
        "read code at code/a.py:1:1: expected a class or a function, found `import`"
    );
    for (line, part) in [
        ("y = x + 1", "2:9: expected the end of the line, found `+`"),
        ("y = 1 - 2", "2:7: arithmetic is not part"),
        (
            "y = x if x else x",
            "expected the end of the line, found `if`",
        ),
        ("y = [x for x in x]", "expected `]`, found `for`"),
        ("f(x) = 1", "assignment to what is no name"),
        ("a, b, c = 1, 2", "2 values for 3 targets"),
        ("y = 9223372036854775808", "no 64-bit"),
        ("y = 99999999999999999999", "no 64-bit"),
        ("y = \"abc", "a string without an end"),
        ("y = \"\\q\"", "a string escape"),
        ("y = x @ x", "character '@' is not supported"),
        ("y = f(a=1, x)", "expected a keyword argument"),
        ("a, b", "expected `=`"),
        ("y = \u{e9}", "character 'é' is not supported"),
        (
            "if x:\n   y = x\n  else: z",
            "expected the end of the line, found `z`",
        ),
        (
            "if x:\n     y = x\n   z = x",
            "indentation that matches no open block",
        ),
    ] {
        let error = code(line);
        assert!(error.contains(part), "{line}: {error}");
    }
    assert!(error("class A(B):\n  x : int\n").contains("base class `B` is unknown"));
    assert!(error("class A(Module):\n").contains("expected an indented block"));
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("f(", ")"),
        ("x[", "]"),
        ("{1: ", "}"),
    ] {
        let text = format!("{}x{}", open.repeat(10_000), close.repeat(10_000));
        let error = error(&format!("def f(x):\n  return {text}\n"));
        assert!(error.contains("nests deeper than 120 levels"), "{error}");
    }
    let chain = format!("def f(x):\n  return x{}\n", ".a".repeat(10_000));
    assert!(error(&chain).contains("nests deeper"));
    let mut blocks = String::from("def f(x):\n");
    for level in 1..500 {
        blocks.push_str(&" ".repeat(level));
        blocks.push_str("if x:\n");
    }
    assert!(error(&blocks).contains("nests deeper"));
}

#[test]
fn no_truncation_or_changed_byte_panics() {
    for cut in 0..FILE.len() {
        let _: Result<File> = parse("a", &FILE[..cut]);
    }
    let mut bytes = FILE.as_bytes().to_vec();
    for at in 0..bytes.len() {
        let old = bytes[at];
        for new in b"\n \"(),:=.-\\0aj[]{}#" {
            bytes[at] = *new;
            let _: Result<File> = parse("a", std::str::from_utf8(&bytes).unwrap());
        }
        bytes[at] = old;
    }
}

#[test]
fn a_type_of_no_tokens_is_refused() {
    let said = |text| parse_type("type tag", text).unwrap_err().to_string();
    for text in ["", " ", "# nothing", "]"] {
        assert!(said(text).contains("expected an expression"), "{text:?}");
    }
}
