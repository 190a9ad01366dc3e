use super::*;

fn schema(text: &str) -> Schema {
    parse(text).unwrap_or_else(|error| panic!("{error}")).2
}

#[test]
fn defaults_of_every_kind() {
    let schema = schema(
        "a::b(Tensor? x=None, int[2] pad=0, int[2] stride=[1, 2], int[1]? dim=None, float eps=1e-05, float one=1, Scalar s=1, \
         Scalar f=0.5, bool b=True, str m=\"mean\\n\", *, MemoryFormat m=contiguous_format, float[] none=[], int i=-1) -> ()",
    );
    let defaults: Vec<_> = schema
        .params
        .into_iter()
        .map(|param| param.default.expect("every parameter has one"))
        .collect();
    assert_eq!(
        defaults,
        [
            Literal::None,
            Literal::ints(&[0, 0]),
            Literal::ints(&[1, 2]),
            Literal::None,
            Literal::Float(1e-5),
            Literal::Float(1.0),
            Literal::Int(1),
            Literal::Float(0.5),
            Literal::Bool(true),
            Literal::str("mean\n"),
            Literal::Int(0),
            Literal::floats(&[]),
            Literal::Int(-1),
        ]
    );
}

#[test]
fn types_lengths_and_alias_sets() {
    let schema = schema(
        "a::b(t[](a!) l, Tensor?[] i, Dict(str, t)(b) d, t(c -> *) e, __torch__.torch.classes.q.P p, *, int[3]? n, ...) \
         -> (Tensor(a)[] first, t(*)?)",
    );
    let var = Type::Var("t".into());
    assert!(schema.vararg && !schema.varret);
    let types: Vec<_> = schema.params.iter().map(|param| param.ty.clone()).collect();
    assert_eq!(
        types,
        [
            Type::list(var.clone()),
            Type::list(Type::optional(Type::TENSOR)),
            Type::dict(Type::Str, var.clone()),
            var.clone(),
            Type::class("__torch__.torch.classes.q.P"),
            Type::optional(Type::list(Type::Int)),
        ]
    );
    let written: Vec<_> = schema
        .params
        .iter()
        .map(|param| {
            param
                .alias
                .as_ref()
                .map(|alias| (alias.writes, alias.escapes))
        })
        .collect();
    assert_eq!(
        written,
        [
            Some((true, false)),
            None,
            Some((false, false)),
            Some((false, true)),
            None,
            None
        ]
    );
    assert_eq!(
        (schema.params[5].fixed_len, schema.params[5].kwarg_only),
        (Some(3), true)
    );
    assert_eq!(schema.returns[0].name, Some("first".into()));
    assert_eq!(schema.returns[1].ty, Type::optional(var));
    assert_eq!(
        schema.returns[1].alias.as_ref().map(|alias| &*alias.sets),
        Some(&["*".into()][..])
    );
}

#[test]
fn errors_say_what_and_where() {
    for (text, column, message) in [
        ("aten::f(Tensor x) - Tensor", 18, "expected `->`"),
        ("aten::f(Tenser x) -> Tensor", 8, "`Tenser` is no type"),
        ("aten::f(bool x=1) -> ()", 15, "expected `True` or `False`"),
        ("aten::f(int x=None) -> ()", 18, "`None` is the default"),
        ("aten::f(str x=\"a) -> ()", 14, "the string has no end"),
        ("aten::f(int x", 13, "expected `,`"),
        ("aten::f() -> () int", 16, "expected the end"),
        ("f() -> ()", 1, "expected `::`"),
        (
            "aten::f(Dict(int) x) -> ()",
            17,
            "expected 2 types, found 1",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.column, column, "{error}");
        assert!(error.message.starts_with(message), "{error}");
    }
}
