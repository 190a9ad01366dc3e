//! The rules of the Finalize passes; the text of each set is a file of this folder.

use std::fmt::Write;
use std::sync::LazyLock;

use planish_ir::Sym;

use crate::pass::QuantType;
use crate::rewrite::{Bound, Rule, RuleSet, overlaps as overlaps_of};

/// Float operators with quantized weights get packed weights.
pub fn prepack() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("prepack.rules", include_str!("rules/prepack.rules")));
    &RULES
}

/// What static quantization fuses.
pub fn quant_fusion() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
        parse(
            "quant_fusion.rules",
            include_str!("rules/quant_fusion.rules"),
        )
    });
    &RULES
}

/// What dynamic quantization fuses.
pub fn dynamic() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("dynamic.rules", include_str!("rules/dynamic.rules")));
    &RULES
}

/// Packed weights that nothing was fused with are taken back.
pub fn undo_prepack() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
        parse(
            "undo_prepack.rules",
            include_str!("rules/undo_prepack.rules"),
        )
    });
    &RULES
}

/// Pairs that undo each other vanish.
pub fn pairs() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("pairs.rules", include_str!("rules/pairs.rules")));
    &RULES
}

/// Sums of quantized tensors take a relu in.
pub fn add_relu() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("add_relu.rules", include_str!("rules/add_relu.rules")));
    &RULES
}

/// Products with transposed weights become linear maps.
pub fn linear() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("linear.rules", include_str!("rules/linear.rules")));
    &RULES
}

/// Weights are packed on the device.
pub fn on_device() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> =
        LazyLock::new(|| parse("on_device.rules", include_str!("rules/on_device.rules")));
    &RULES
}

/// Every set with its name.
pub fn sets() -> [(&'static str, &'static RuleSet); 8] {
    [
        ("quant-fusion", quant_fusion()),
        ("dynamic", dynamic()),
        ("prepack", prepack()),
        ("undo-prepack", undo_prepack()),
        ("add-relu", add_relu()),
        ("linear", linear()),
        ("on-device", on_device()),
        ("pairs", pairs()),
    ]
}

/// Whether some rule speaks about an operator.
pub(crate) fn speak_about(quant_type: QuantType, op: Sym) -> bool {
    fusion(quant_type).speaks_about(op)
}

/// What fuses under a way to quantize.
pub(crate) fn fusion(quant_type: QuantType) -> &'static RuleSet {
    match quant_type {
        QuantType::Static => quant_fusion(),
        QuantType::Dynamic => dynamic(),
    }
}

/// The file that a set is read from.
pub fn source(set: &str) -> String {
    format!("src/passes/rules/{}.rules", set.replace('-', "_"))
}

/// A rule of a set: its text, where it stands in its file, PyTorch's row, and the laws that keep it right.
pub fn explain(set: &str, rule: &Rule) -> String {
    let mut text = rule.to_string();
    let _ = writeln!(text, "\n{}:{}", source(set), rule.line());
    let origin = match rule.number() {
        row @ ..90 => format!("row {row} of PyTorch's tables"),
        _ => "planish's own".to_owned(),
    };
    let _ = writeln!(text, "{origin}");
    if rule.bound() == Bound::Exact {
        text.push_str("exact: not a bit changes\n");
    }
    for (guard, law) in rule.laws() {
        let _ = writeln!(text, "{guard} asks for {law}");
    }
    text
}

/// Every rule, expanded, as text.
pub fn listing() -> String {
    let mut text = String::new();
    for (name, set) in sets() {
        let _ = writeln!(text, "# {name}: {} rules\n", set.rules().len());
        for rule in set.rules() {
            let _ = writeln!(text, "{rule}");
        }
    }
    text
}

/// Every pair of rules of one set that may match at the same root, a line each.
pub fn overlaps() -> String {
    let mut text = String::new();
    for (name, set) in sets() {
        for (first, second) in overlaps_of(set.rules()) {
            let _ = writeln!(
                text,
                "{name}: {} {} | {} {}",
                first.number(),
                first.name(),
                second.number(),
                second.name()
            );
        }
    }
    text
}

fn parse(name: &'static str, text: &str) -> RuleSet {
    // A test reads every set, so the text in the binary is known to be right.
    RuleSet::parse(name, text).unwrap_or_else(|error| panic!("failed to {error}"))
}
