//! The text form of whole models.

use planish_ir::text::{Blobs, Printer, Style, parse_module, parse_module_with};
use planish_ir::{ClassKind, GraphModule, Literal, Phase, Sym, Type};

const MODEL: &str = include_str!("fixtures/model.ir");

fn read(text: &str) -> GraphModule {
    parse_module(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_model_reads_back() {
    let model = read(MODEL);
    assert_eq!(model.to_string(), MODEL);
    let root = model.root();
    assert_eq!(model.phase, Phase::Fused);
    assert_eq!(
        model.submodule(root, "again".into()),
        model.resolve(root, &["block".into(), "0".into()])
    );
    assert_eq!(
        model.module(root).attrs[&Sym::new("x.2_scale_0")],
        Literal::Float(0.1)
    );
    assert_eq!(model.modules().count(), 3);
    let block = &model.classes[&Sym::new("__torch__.Block")];
    assert_eq!(block.fields[&Sym::new("training")], Type::Bool);
    assert_eq!(block.fields[&Sym::new("0")], Type::class("__torch__.Conv"));
    assert_eq!(
        model.classes[&Sym::new("__torch__.Color")].kind,
        ClassKind::Enum
    );
    let forward = model.method(model.root_method("forward").unwrap());
    assert_eq!(forward.params[2], ("k".into(), Some(Literal::Int(3))));
    assert_eq!(model.functions.len(), 1);
}

#[test]
fn large_tensors_stand_outside_once() {
    let model = read(MODEL);
    let mut blobs = Blobs::new();
    let text = Printer::new(Style::Canonical)
        .blobs(&mut blobs, 2)
        .module(&model);
    let names: Vec<_> = blobs
        .iter()
        .map(|(name, payload)| (name, payload.len()))
        .collect();
    assert_eq!(names, [("t0", 4), ("t1", 16)]);
    assert_eq!(text.matches("@t1").count(), 2);
    let again = parse_module_with(&text, &blobs).unwrap();
    assert_eq!(again.to_string(), MODEL);
    assert!(
        parse_module(&text)
            .unwrap_err()
            .to_string()
            .contains("no blob is named `t0`")
    );
}

#[test]
fn a_graph_alone_is_a_model() {
    let model = read("# a case\ngraph(%x.1 : Tensor, %y : int):\n  return (%x.1)\n");
    assert_eq!(model.module(model.root()).class, "__torch__.Main");
    let forward = model.method(model.root_method("forward").unwrap());
    assert_eq!(forward.params, [("x".into(), None), ("y".into(), None)]);
    let model = read("graph(%self : __torch__.a.Net):\n  return ()\n");
    assert_eq!(model.module(model.root()).class, "__torch__.a.Net");
}

#[test]
fn methods_may_stand_with_the_object() {
    let model = read(
        "module @M : __torch__.M phase=imported {\n  method forward {\n graph(%self : __torch__.M):\n return ()\n }\n}",
    );
    assert!(model.root_method("forward").is_some());
}

#[test]
fn wrong_models_are_refused() {
    for (text, message) in [
        ("module __torch__.M {", "expected `attr`"),
        ("module __torch__.M phase=late {}", "as a phase"),
        (
            "module __torch__.M { submodule a = b }",
            "a shared submodule",
        ),
        (
            "module __torch__.M { submodule a : __torch__.A { submodule b = a } }",
            "a shared submodule",
        ),
        (
            "module __torch__.M { attr a : int = 1 attr a : int = 2 }",
            "stands twice",
        ),
        (
            "module __torch__.M { attr a : int = \"s\" }",
            "a string stands where `int`",
        ),
        (
            "module __torch__.M {} class __torch__.A {} class __torch__.A {}",
            "stands twice",
        ),
        (
            "module __torch__.M {} class __torch__.A { method f graph(): return () method f graph(): return () }",
            "two methods",
        ),
        (
            "module __torch__.M {} class __torch__.A kind=odd {}",
            "expected module, script",
        ),
    ] {
        let error = parse_module(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    let deep = format!(
        "module __torch__.M {{ {}",
        "submodule a : __torch__.A {".repeat(100_000)
    );
    assert!(
        parse_module(&deep)
            .unwrap_err()
            .to_string()
            .contains("nested more than")
    );
    // Whatever is missing, the reader comes to an end; that it read something is no fault, since sections may be missing.
    for end in 0..MODEL.len() {
        let _ = parse_module(&MODEL[..end]);
    }
}
