//! Which quantized operators have no meaning here, and why.

use planish_eval::is_known;
use planish_ir::Op;

const SCHEMAS: &str = include_str!("../../ir/schemas.txt");

/// Quantized operators without a meaning.
const UNKNOWN: [&str; 5] = [
    // Asks for packed weights of any class; only PyTorch's mobile runtime does.
    "quantized::conv2d_unpack_sizes",
    // Reads a layout of one kind of processor.
    "quantized::int4mm_packed_weight_cpu",
    // Pack into a tensor that hides a pointer, as PyTorch 1.3 did.
    "quantized::linear_prepack_fp16_legacy",
    "quantized::linear_prepack_legacy",
    // Cells whose weights are packed in such a tensor.
    "quantized::make_quantized_cell_params",
];

#[test]
fn every_other_quantized_operator_has_a_meaning() {
    let names = SCHEMAS.lines().filter_map(|line| line.split('(').next());
    let quantized = names.filter(|name| name.starts_with("quantized::"));
    let mut unknown: Vec<&str> = quantized.filter(|name| !is_known(Op::of(name))).collect();
    unknown.sort_unstable();
    assert_eq!(unknown, UNKNOWN);
}
