//! Rules as the engine runs them: a pattern over operators, guards, and what takes the pattern's place.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::FixedState;
use planish_ir::{Graph, Literal, NodeId, Op, Sym};

use super::bound::Bound;
use super::guard::Guard;

/// A rewrite rule without holes.
#[derive(Debug)]
pub struct Rule {
    number: u32,
    name: Sym,
    line: usize,
    /// Operations of the pattern: operands before users, the root last.
    pub(super) pattern: Vec<Step>,
    pub(super) guards: Vec<Guard>,
    bound: Bound,
    /// Operations of the replacement in order; none when an input of the pattern takes the root's place.
    pub(super) replacement: Vec<Step>,
    /// The value that takes the place of the root's output: the last operation's only output, or an input of the pattern.
    pub(super) result: Var,
    pub(super) vars: Vec<VarInfo>,
    /// The steps of the pattern from the root along first operands, as far as the index distinguishes.
    pub(super) spine: Vec<usize>,
    /// What takes the root's place, in words: every rewrite tells it.
    becomes: Arc<str>,
}

/// A value of a rule: an index into [`Rule::vars`].
pub(super) type Var = usize;

/// What is known of a value of a rule.
#[derive(Debug)]
pub(super) struct VarInfo {
    pub(super) name: String,
    /// The step of the pattern that computes it, and as which output; `None` for an input of the pattern and for a value of the replacement.
    pub(super) def: Option<(usize, usize)>,
    /// How often steps of the pattern read it.
    pub(super) uses: usize,
}

/// An operation of a pattern or replacement.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) inputs: Vec<Term>,
    pub(super) outputs: Vec<Var>,
}

/// An operand.
#[derive(Debug)]
pub(super) enum Term {
    /// A value.
    Var(Var),
    /// A constant, equal by value.
    Literal(Literal),
}

impl Rule {
    pub(super) fn new(
        (number, name, line): (u32, &str, usize),
        pattern: Vec<Step>,
        (replacement, result): (Vec<Step>, Var),
        (guards, bound): (Vec<Guard>, Bound),
        vars: Vec<VarInfo>,
    ) -> Self {
        let mut rule = Self {
            number,
            name: Sym::new(name),
            line,
            pattern,
            guards,
            bound,
            replacement,
            result,
            vars,
            spine: Vec::new(),
            becomes: Arc::default(),
        };
        rule.spine = rule.find_spine();
        rule.becomes = rule.name_replacement().into();
        rule
    }

    /// The rule's number: its place in PyTorch's tables, or from 90 a number of planish's own.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The rule's name, which no other rule has.
    pub fn name(&self) -> &'static str {
        self.name.as_str()
    }

    /// The line of the rule or of the table's row in its file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The conditions besides the pattern's shape: each as the rule writes it, and what it asks of its first argument.
    pub fn laws(&self) -> Vec<(String, &'static str)> {
        let guards = self.guards.iter();
        guards.map(|guard| (self.guard(guard), guard.law)).collect()
    }

    /// What takes the root's place: operators, or an input of the pattern.
    pub fn becomes(&self) -> &Arc<str> {
        &self.becomes
    }

    /// Whether an input of the pattern takes the root's place, so that nothing is computed any more.
    pub(super) fn becomes_a_value(&self) -> bool {
        self.replacement.is_empty()
    }

    fn name_replacement(&self) -> String {
        if self.becomes_a_value() {
            return self.name_of(self.result);
        }
        let steps = self.replacement.iter();
        let ops: Vec<String> = steps.map(|step| step.op.to_string()).collect();
        ops.join(", ")
    }

    /// How far the replacement may be from the pattern.
    pub fn bound(&self) -> Bound {
        self.bound
    }

    /// The number of operators that the pattern consists of.
    pub fn operators(&self) -> usize {
        self.pattern.len()
    }

    /// The root, which no other step of the pattern reads.
    pub(super) fn root(&self) -> &Step {
        let root = self.pattern.last();
        root.expect("the compiler refuses a rule whose pattern is empty")
    }

    /// The step of the pattern that says most about what it computes: the float operator under quantization and activation.
    pub(super) fn core(&self) -> usize {
        let float = |at: &&usize| !self.pattern[**at].op.is("aten::dequantize");
        let above = self.spine.iter().take_while(float).last();
        above.copied().unwrap_or(self.pattern.len() - 1)
    }

    /// What an operand of a step is computed by, when it is computed inside the pattern.
    pub(super) fn producer(&self, term: &Term) -> Option<(usize, usize)> {
        match term {
            Term::Var(var) => self.vars[*var].def,
            Term::Literal(_) => None,
        }
    }

    /// The first step that reads what a step computes: the step, as which operand, and which output; `None` for the root.
    pub(super) fn reader(&self, at: usize) -> Option<(usize, usize, usize)> {
        let reads = |step: &Step| {
            let mut operands = step.inputs.iter().enumerate();
            operands.find_map(|(operand, term)| match self.producer(term) {
                Some((made, output)) if made == at => Some((operand, output)),
                _ => None,
            })
        };
        let mut later = self.pattern.iter().enumerate().skip(at + 1);
        later.find_map(|(step, reader)| {
            let (operand, output) = reads(reader)?;
            Some((step, operand, output))
        })
    }

    /// A trailing `aten::dequantize` is left out: a float operand there makes a near miss, which is worth a remark.
    fn find_spine(&self) -> Vec<usize> {
        let mut spine = vec![self.pattern.len() - 1];
        let mut at = spine[0];
        while let Some((step, 0)) = self.pattern[at]
            .inputs
            .first()
            .and_then(|term| self.producer(term))
        {
            spine.push(step);
            at = step;
        }
        if spine.len() > 1 && self.pattern[at].op.is("aten::dequantize") {
            spine.pop();
        }
        spine
    }
}

/// Rules in the order in which they are tried, with an index by root and by what the root's first operand is computed by.
#[derive(Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    index: Branch,
    /// Rules by the operator that they speak about.
    about: BySym<Vec<usize>>,
}

/// Rules whose spines agree so far; operators are told apart by their names, so that a wrong overload is a near miss.
#[derive(Debug, Default)]
struct Branch {
    rules: Vec<usize>,
    next: BySym<Branch>,
}

type BySym<T> = HashMap<Sym, T, FixedState>;

impl RuleSet {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        let mut index = Branch::default();
        let mut about: BySym<Vec<usize>> = BySym::default();
        for (at, rule) in rules.iter().enumerate() {
            let core = rule.pattern[rule.core()].op.name();
            about.entry(core).or_default().push(at);
            let mut branch = &mut index;
            for step in &rule.spine {
                branch = branch
                    .next
                    .entry(rule.pattern[*step].op.name())
                    .or_default();
            }
            branch.rules.push(at);
        }
        Self {
            rules,
            index,
            about,
        }
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether a rule speaks about an operator.
    pub(crate) fn speaks_about(&self, op: Sym) -> bool {
        self.about.contains_key(&op)
    }

    /// The rules that speak about an operator.
    pub(super) fn about(&self, op: Sym) -> &[usize] {
        self.about.get(&op).map_or(&[], Vec::as_slice)
    }

    /// The rules that may match with this node as root, in the order in which they are tried.
    pub(super) fn candidates(&self, graph: &Graph, root: NodeId) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let (mut branch, mut node) = (&self.index, Some(root));
        while let Some(at) = node {
            let Some(next) = branch.next.get(&graph.node(at).op().name()) else {
                break;
            };
            found.extend(&next.rules);
            branch = next;
            node = graph
                .node(at)
                .inputs()
                .first()
                .and_then(|input| graph.producer(*input));
        }
        found
    }
}

/// The rule in the dialect that it was written in, one operation a line.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.number, self.name)?;
        for (part, steps) in [("match ", &self.pattern), ("become", &self.replacement)] {
            for (at, step) in steps.iter().enumerate() {
                f.write_str("  ")?;
                f.write_str(if at == 0 { part } else { "      " })?;
                f.write_str("  ")?;
                if at + 1 == steps.len() {
                    f.write_str("return ")?;
                } else {
                    let outputs = step.outputs.iter().map(|var| self.name_of(*var));
                    let outputs: Vec<String> = outputs.collect();
                    write!(f, "{} = ", outputs.join(", "))?;
                }
                let inputs: Vec<String> = step.inputs.iter().map(|term| self.term(term)).collect();
                writeln!(f, "{}({})", step.op, inputs.join(", "))?;
            }
        }
        if self.becomes_a_value() {
            writeln!(f, "  become  return {}", self.name_of(self.result))?;
        }
        for (at, guard) in self.guards.iter().enumerate() {
            let part = if at == 0 { "where" } else { "     " };
            writeln!(f, "  {part}   {}", self.guard(guard))?;
        }
        if self.bound != Bound::Exact {
            writeln!(f, "  within  {}", self.bound)?;
        }
        Ok(())
    }
}

impl Rule {
    fn guard(&self, guard: &Guard) -> String {
        let args: Vec<String> = guard.args.iter().map(|var| self.name_of(*var)).collect();
        format!("{}({})", guard.name, args.join(", "))
    }

    fn name_of(&self, var: Var) -> String {
        format!("%{}", self.vars[var].name)
    }

    fn term(&self, term: &Term) -> String {
        match term {
            Term::Var(var) => self.name_of(*var),
            Term::Literal(Literal::None) => "none".to_owned(),
            Term::Literal(Literal::Bool(value)) => value.to_string(),
            Term::Literal(Literal::Int(value)) => value.to_string(),
            Term::Literal(Literal::Float(value)) => format!("{value:?}"),
            Term::Literal(other) => format!("{other:?}"),
        }
    }
}
