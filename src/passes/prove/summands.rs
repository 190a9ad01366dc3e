//! How large a result would be if none of its terms took from another.
//!
//! Sums that are rounded differently differ by a share of their terms, not of what is left when terms cancel.

use std::collections::HashMap;

use planish_eval::{Contract, Limits, Value, eval_node, to_literal};
use planish_ir::{DType, Graph, Literal, Node, Tensor, ValueId};

use super::difference::elements;

/// The largest element of the last result of a graph without branches and loops, if every float that it is made of were positive; none
/// where that cannot be computed.
pub(super) fn largest(graph: &Graph, inputs: &[Literal], contract: Contract) -> Option<f64> {
    let mut values: HashMap<ValueId, Literal> = HashMap::new();
    // What values that are floats would be.
    let mut sums: HashMap<ValueId, Literal> = HashMap::new();
    for (param, input) in graph.params().iter().zip(inputs) {
        values.insert(*param, input.clone());
        sums.insert(*param, magnitude(input));
    }
    for id in graph.walk() {
        let node = graph.node(id);
        if let Some(literal) = node
            .outputs()
            .first()
            .and_then(|made| graph.constant(*made))
        {
            values.insert(node.outputs()[0], literal.clone());
            sums.insert(node.outputs()[0], magnitude(literal));
            continue;
        }
        let outputs = |of: &HashMap<ValueId, Literal>| -> Option<Vec<Literal>> {
            let inputs = node.inputs().iter();
            let inputs: Option<Vec<Value>> = inputs.map(|at| of.get(at).map(Value::from)).collect();
            let made = eval_node(graph, id, &inputs?, contract, Limits::default()).ok()?;
            made.iter().map(|value| to_literal(value).ok()).collect()
        };
        let made = outputs(&values)?;
        // A grid is that of the values themselves.
        let of_sums = if adds(node) {
            outputs(&sums)?
        } else {
            made.clone()
        };
        for ((at, value), sum) in node.outputs().iter().zip(made).zip(of_sums) {
            values.insert(*at, value);
            sums.insert(*at, magnitude(&sum));
        }
    }
    let Literal::Tensor(last) = sums.get(graph.results().last()?)? else {
        return None;
    };
    Some(elements(last).into_iter().fold(0.0, f64::max))
}

/// Whether a node adds up products of its operands, or only turns one.
fn adds(node: Node<'_>) -> bool {
    const ADDS: [&str; 10] = [
        "aten::add",
        "aten::addmm",
        "aten::bmm",
        "aten::conv1d",
        "aten::conv2d",
        "aten::conv3d",
        "aten::linear",
        "aten::matmul",
        "aten::mm",
        "aten::t",
    ];
    ADDS.iter().any(|op| node.op().is(op))
}

/// The same with positive elements, if it is a tensor of floats.
fn magnitude(literal: &Literal) -> Literal {
    let Literal::Tensor(tensor) = literal else {
        return literal.clone();
    };
    if tensor.dtype() != DType::Float {
        return literal.clone();
    }
    let values = elements(tensor).into_iter();
    let values: Vec<f32> = values.map(|value| value.abs() as f32).collect();
    match Tensor::from_values(tensor.shape(), &values) {
        Ok(tensor) => Literal::Tensor(tensor),
        Err(_) => literal.clone(),
    }
}

#[cfg(test)]
mod tests {
    use planish_ir::text::parse_graph;

    use super::*;

    #[test]
    fn terms_that_cancel_count_all_the_same() {
        let text = "graph(%x : Tensor, %w : Tensor, %b : Tensor):
          %y : Tensor = aten::linear(%x, %w, %b)
          return (%y)";
        let graph = parse_graph(text).expect("a graph");
        let floats = |shape: &[i64], values: &[f32]| {
            Literal::Tensor(Tensor::from_values(shape, values).unwrap())
        };
        let inputs = [
            floats(&[1, 2], &[100., -100.]),
            floats(&[2, 2], &[1., 1., 2., 2.]),
            floats(&[2], &[-0.5, 0.5]),
        ];
        assert_eq!(largest(&graph, &inputs, Contract::default()), Some(400.5));
    }
}
