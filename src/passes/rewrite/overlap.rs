//! Which rules may match at the same root.
//!
//! Two patterns overlap when one graph could contain both with the same root. An input of a pattern stands for anything, so the answer
//! errs towards yes; use counts and guards are not looked at, and they are what keeps most overlapping pairs apart.

use planish_ir::Literal;

use super::rule::{Rule, Step, Term};

/// The pairs of rules that may match at the same root, each with the rule that is tried first in front.
pub fn overlaps(rules: &[Rule]) -> Vec<(&Rule, &Rule)> {
    let mut pairs = Vec::new();
    for (at, first) in rules.iter().enumerate() {
        for second in &rules[at + 1..] {
            if steps_unify((first, first.root()), (second, second.root())) {
                pairs.push((first, second));
            }
        }
    }
    pairs
}

fn steps_unify(a: (&Rule, &Step), b: (&Rule, &Step)) -> bool {
    a.1.op == b.1.op
        && a.1.inputs.iter().zip(&b.1.inputs).all(|(x, y)| {
            match (operand(a.0, x), operand(b.0, y)) {
                (Operand::Any, _) | (_, Operand::Any) => true,
                (Operand::Constant(x), Operand::Constant(y)) => x == y,
                (Operand::Output(x, out), Operand::Output(y, other)) => {
                    out == other && steps_unify((a.0, x), (b.0, y))
                }
                (Operand::Constant(_), Operand::Output(..))
                | (Operand::Output(..), Operand::Constant(_)) => false,
            }
        })
}

enum Operand<'a> {
    Any,
    Constant(&'a Literal),
    Output(&'a Step, usize),
}

fn operand<'a>(rule: &'a Rule, term: &'a Term) -> Operand<'a> {
    match (term, rule.producer(term)) {
        (Term::Literal(literal), _) => Operand::Constant(literal),
        (Term::Var(_), Some((step, output))) => Operand::Output(&rule.pattern[step], output),
        (Term::Var(_), None) => Operand::Any,
    }
}
