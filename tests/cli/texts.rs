//! Modules in text form: `opt`, and what it says of texts that are wrong.

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::command::{Room, digits};

const ADD: &str = "graph(%x : Tensor):
  %unread : Tensor = aten::relu(%x)
  %one : int = prim::Constant[value=1]()
  %y : Tensor = aten::add(%x, %x, %one)
  return (%y)
";

#[test]
fn a_fault_is_shown_in_its_line() {
    let room = Room::new();
    let text = room.file(
        "bad.ir",
        ADD.replace("aten::add(%x, %x", "aten::add(%x, %z"),
    );
    for verb in ["opt", "finalize", "import"] {
        let said = room.planish(verb).arg(&text).fails(1, &["bad.ir"]).stderr;
        let shown = "4 |   %y : Tensor = aten::add(%x, %z, %one)
  |                               ^^";
        assert!(said.contains(shown), "{said}");
        assert!(said.contains("%z is not defined"), "{said}");
    }
}

#[test]
fn a_text_that_cannot_be_read_is_named() {
    let room = Room::new();
    for (name, content, part) in [
        ("empty.ir", &b""[..], "expected `graph`"),
        ("bytes.ir", &b"\xff\xfe"[..], "UTF-8"),
        (
            "open.ir",
            &b"graph(%x : Tensor):\n  %y : Tensor = aten::relu(%x\n"[..],
            "expected `,`",
        ),
        ("deep.ir", &b"(".repeat(100_000)[..], "expected `graph`"),
    ] {
        let path = room.file(name, content);
        room.planish("opt").arg(&path).fails(1, &[name, part]);
    }
    room.planish("opt")
        .arg("missing.ir")
        .fails(1, &["failed to read missing.ir: No such file"]);
}

#[test]
fn a_graph_that_fails_verification_is_told_with_every_breach() {
    let room = Room::new();
    let text = "graph(%x : int):
  %y : Tensor = aten::relu(%x)
  %z : Tensor = aten::add(%y)
  return (%z)
";
    let path = room.file("bad.ir", text);
    for verb in ["opt", "finalize"] {
        room.planish(verb).arg(&path).fails(
            1,
            &[
                "failed to read ",
                "bad.ir",
                "error: `self` ",
                "2 |   %y : Tensor = aten::relu(%x)\n  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n",
                "3 |   %z : Tensor = aten::add(%y)\n  |   ^^^",
            ],
        );
    }
}

#[test]
fn an_operator_that_nothing_computes_is_refused() {
    let room = Room::new();
    let path = room.file(
        "m.ir",
        ADD.replace("aten::add(%x, %x, %one)", "mine::unheard_of(%x)"),
    );
    room.planish("finalize")
        .args(&["-o", "m.planish"])
        .arg(&path)
        .fails(1, &["mine::unheard_of at %y", "no kernel computes it"]);
    assert_eq!(room.names(), ["m.ir"]);
}

#[test]
fn a_graph_on_its_own_becomes_an_artefact() {
    let room = Room::new();
    let graph = room.file("m.ir", ADD);
    room.planish("finalize")
        .arg(graph)
        .args(&["-o", "m.planish", "--remarks"])
        .succeeds()
        .prints(&[
            "1 operator runs without a kernel:",
            "  aten::add.Tensor at %y: ",
        ]);
    let zeros = TensorView::new(Dtype::F32, vec![2, 3], &[0; 24]).expect("a view");
    let bytes = serialize([("input.0", zeros)], None).expect("serialize");
    room.file("in.safetensors", bytes);
    room.planish("run")
        .args(&["m.planish", "--inputs", "in.safetensors"])
        .succeeds()
        .prints(&["output.0: Float[2, 3]"]);
}

#[test]
fn passes_run_in_the_order_they_are_named() {
    let room = Room::new();
    let path = room.file("m.ir", ADD);
    let run = |passes: &str| {
        let passes = format!("--passes={passes}");
        room.planish("opt").arg(&path).arg(passes).succeeds()
    };
    assert!(run("").stdout.contains("aten::relu"));
    assert!(!run("dce").stdout.contains("aten::relu"));
    // What comes out can be read back.
    let text = run("cse,dce").stdout;
    let again = room.file("again.ir", &text);
    assert_eq!(
        room.planish("opt")
            .arg(again)
            .arg("--passes=")
            .succeeds()
            .stdout,
        text
    );
}

#[test]
fn what_passes_do_is_told_on_standard_error() {
    let room = Room::new();
    let model = digits();
    let opt = |flags: &[&str]| room.planish("opt").arg(&model).args(flags).succeeds();
    let plain = opt(&[]);
    assert_eq!(plain.stderr, "");
    assert!(plain.stdout.contains("quantized::conv2d_relu"));
    for flags in [
        &["--timing"][..],
        &["--remarks"],
        &["--print-after", "quant-fusion"],
        &["--print-changed"],
    ] {
        let told = opt(flags);
        assert_eq!(told.stdout, plain.stdout, "{flags:?}");
        assert!(told.stderr.contains("quant-fusion"), "{told:?}");
    }
    let timing = opt(&["--timing"]).stderr;
    assert_eq!(timing.lines().count(), 7, "{timing}");
    let after = opt(&["--print-after", "insert-prepack-unpack"]).stderr;
    assert!(
        after.starts_with("# after insert-prepack-unpack\nmodule "),
        "{after}"
    );
    let unfused = opt(&["--fuel", "0", "--passes=inline,quant-fusion"]).stdout;
    assert!(!unfused.contains("quantized::conv2d"), "{unfused}");
}

#[test]
fn a_module_is_printed_with_the_names_of_its_remarks() {
    let room = Room::new();
    let model = digits();
    let opt = |flags: &[&str]| room.planish("opt").arg(&model).args(flags).succeeds();
    let remarks = opt(&["--remarks"]).stderr;
    let told = " aten::conv2d %13 in forward (code/__torch__/net/___torch_mangle_30.py:51:9): ";
    assert!(remarks.contains(told), "{remarks}");
    let names = opt(&["--passes=inline", "--names"]).stdout;
    let printed = names.lines().find(|line| line.contains(" %13 : "));
    let printed = printed.expect("the value is printed by its name");
    assert!(
        printed.contains("aten::conv2d(%x_16_dequant.1, "),
        "{printed}"
    );
    assert!(printed.ends_with("# code/__torch__/net/___torch_mangle_30.py:51:9"));
    let imported = room.planish("import").arg(&model).args(&["--names"]);
    assert!(imported.succeeds().stdout.contains("%x_16_dequant.1"));
}

#[test]
fn a_pass_that_does_not_exist_is_a_mistake_of_usage() {
    let room = Room::new();
    for flags in [["--passes", "dce,polish"], ["--print-after", "polish"]] {
        room.planish("opt").args(&flags).arg("missing.ir").fails(
            2,
            &[
                "failed to find the pass \"polish\"",
                "quant-fusion",
                "peephole",
            ],
        );
    }
    let path = room.file("m.ir", ADD);
    room.planish("opt")
        .arg(path)
        .arg("--passes=fold-prepack")
        .fails(1, &["run fold-prepack", "imported", "frozen"]);
}

#[test]
fn names_to_preserve_must_exist() {
    let room = Room::new();
    for verb in ["opt", "finalize"] {
        room.planish(verb)
            .arg(digits())
            .args(&["--preserve", "stem.waight"])
            .fails(1, &["stem.waight", "weight", "bias"]);
        room.planish(verb)
            .arg(digits())
            .args(&["--preserve", "nothing"])
            .fails(1, &["\"nothing\"", "stem", "forward"]);
    }
    let kept = room
        .planish("opt")
        .arg(digits())
        .args(&["--preserve", "stem.weight"]);
    assert!(kept.succeeds().stdout.contains("submodule stem"));
}

#[test]
fn import_and_passes_print() {
    let room = Room::new();
    let short = room.planish("import").arg(digits()).succeeds().stdout;
    assert!(
        short.starts_with("module ") && short.contains("@t0"),
        "{short}"
    );
    let whole = room
        .planish("import")
        .arg(digits())
        .arg("--elements")
        .succeeds()
        .stdout;
    assert!(whole.len() > 2 * short.len());
    let again = room.file("digits.ir", &whole);
    let read = room
        .planish("import")
        .arg(again)
        .arg("--elements")
        .succeeds();
    assert_eq!(read.stdout, whole);
    room.planish("passes").succeeds().prints(&[
        " 1. inline",
        " 2. clear-profiling",
        " 3. insert-prepack-unpack",
        " 4. quant-motion",
        " 5. quant-fusion",
        " 6. freeze",
        " 7. fold-prepack",
        "    const-fold",
    ]);
}

#[test]
fn rewrites_are_proven_and_a_counter_example_is_replayed() {
    let room = Room::new();
    let text = room.file("add.ir", ADD);
    let zeros = [0; 24];
    let view = TensorView::new(Dtype::F32, vec![2, 3], &zeros).expect("a view");
    let inputs = room.file(
        "in.safetensors",
        serialize([("input.0", view)], None).expect("serialize"),
    );
    let said = room
        .planish("opt")
        .arg(&text)
        .arg("--prove")
        .arg(&inputs)
        .succeeds()
        .stderr;
    assert!(
        said.starts_with("0 rewrites proven by 0 trials, "),
        "{said}"
    );
    let product = ADD.replace("aten::add(%x, %x, %one)", "aten::mm(%x, %x)");
    room.planish("opt")
        .arg(room.file("mm.ir", product))
        .arg("--prove")
        .arg(&inputs)
        .fails(
            1,
            &["failed to prove: forward does not answer the inputs: "],
        );
    // What a wrong rule would leave.
    let about = r#"{"planish": "0", "pass": "trial", "step": "drops relu", "number": 3, "method": "forward",
        "within": "1 code", "contract": "fbgemm", "calls": 1, "difference": ""}"#;
    let constant = "prim::Constant[value=dense<QUInt8(2), scale=0.5, zero_point=8>[3, 9]]";
    for (name, content) in [
        ("about.json", about.as_bytes().to_vec()),
        (
            "before.ir",
            b"graph(%x : Tensor):\n  %y : Tensor = aten::relu(%x)\n  return (%y)\n".to_vec(),
        ),
        ("after.ir", b"graph(%x : Tensor):\n  return (%x)\n".to_vec()),
        (
            "inputs.ir",
            format!("graph():\n  %x : Tensor = {constant}()\n  return (%x)\n").into_bytes(),
        ),
        (
            "tensors.safetensors",
            serialize(
                [(
                    "none",
                    TensorView::new(Dtype::U8, vec![0], &[]).expect("a view"),
                )],
                None,
            )
            .expect("serialize"),
        ),
    ] {
        room.file(name, content);
    }
    room.planish("opt").args(&["--replay", "."]).fails(
        3,
        &[
            "rewrite 3 of trial, by the rule \"drops relu\": 1 of 2 elements differ, by at most 5",
            "was 8 and became 3",
        ],
    );
    room.file("inputs.ir", "graph(");
    room.planish("opt")
        .args(&["--replay", "."])
        .fails(1, &["failed to read the counter-example inputs.ir"]);
    room.planish("opt").fails(2, &["<INPUT>"]);
}

#[test]
fn rules_say_why_they_do_not_match() {
    let room = Room::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = folder.join("cases/quant_fusion/one_float_operand.ir");
    let ask = |value: &str| {
        room.planish("rules")
            .args(&["why-not"])
            .arg(&text)
            .args(&[value])
    };
    ask("%s").succeeds().prints(&[
        "%s = aten::add.Tensor(%a_f, %y, %alpha) in forward",
        "  rule 24 (sum add), 3 of 4 operators found: operand 1 of aten::add.Tensor, %y, is a parameter",
    ]);
    ask("%y")
        .succeeds()
        .prints(&["%y is a parameter in forward", "  nothing computes it"]);
    ask("%ss").fails(1, &["find a value %ss in forward", "there are %s"]);
    let model = folder.join("fixtures/oracle/op_gelu/before.pt");
    let ask = |before: &str| {
        let run = room.planish("rules").args(&["why-not"]).arg(&model);
        run.args(&["%1", "--before", before])
    };
    ask("polish").fails(2, &["among the passes of Finalize", "quant-fusion"]);
    room.planish("rules")
        .args(&["explain", "24"])
        .succeeds()
        .prints(&[
            "24 sum add",
            "src/passes/rules/quant_fusion.rules:",
            "row 24 of PyTorch's tables",
            "one(%alpha) asks for",
        ]);
    room.planish("rules")
        .args(&["explain", "999"])
        .fails(2, &["planish rules list"]);
    room.planish("rules")
        .args(&["list"])
        .succeeds()
        .prints(&["quant-fusion:", "    0 weighted conv1d"]);
}
