//! What archives hold besides what the oracle cases show: control flow, classes, packed weights,
//! modules that restore themselves; and what is refused.

mod archive;
#[path = "archives/code.rs"]
mod code;
mod compare;
mod hostile;
#[path = "archives/objects.rs"]
mod objects;
#[path = "archives/refusals.rs"]
mod refusals;
mod registered;

use archive::of_code;
use bytes::Bytes;
use planish_import::read;
use planish_ir::text::parse_graph;
use planish_ir::{Graph, GraphModule};

fn import(bytes: Bytes) -> GraphModule {
    let model = read(bytes, "m.pt").unwrap_or_else(|error| panic!("failed to {error}"));
    planish_ir::verify(&model).unwrap();
    model
}

/// The root's `forward` in an archive with this code.
fn forward(code: &str) -> Graph {
    let model = import(of_code("4", code));
    let method = model.root_method("forward").unwrap();
    model.method(method).graph.clone()
}

/// Imports `forward(self, x: Tensor, n: int)` with this body and compares it with a graph.
fn check(returns: &str, body: &str, wanted: &str) {
    let body = body.trim().replace('\n', "\n    ");
    let code = format!(
        "class M(Module):\n  def forward(self: __torch__.M, x: Tensor, n: int) -> {returns}:\n    {body}\n"
    );
    let found = forward(&code);
    let wanted = parse_graph(wanted).unwrap_or_else(|error| panic!("{error}"));
    if let Err(difference) = compare::same_graph(&found, &wanted) {
        panic!("{difference}\n{}", planish_ir::text::canonical(&found));
    }
}

fn error(bytes: Bytes) -> String {
    read(bytes, "m.pt").unwrap_err().to_string()
}

/// The error of importing `forward(self, x: Tensor, n: int) -> Tensor` with this body.
fn code_error(body: &str) -> String {
    let body = body.trim().replace('\n', "\n    ");
    error(of_code(
        "3",
        &format!(
            "class M(Module):\n  def forward(self: __torch__.M, x: Tensor, n: int) -> Tensor:\n    {body}\n"
        ),
    ))
}
