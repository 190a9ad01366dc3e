//! From a rule file's text to rules that can be run: calls are taken apart into steps, names become indices, and everything that can be
//! wrong with a rule is refused here, so that the matcher has nothing left to check.

use std::collections::HashMap;

use planish_ir::Op;

use super::RuleError;
use super::bound::Bound;
use super::expand::{Concrete, Fault, expand, guards};
use super::expr::{Expr, statement};
use super::guard::Guard;
use super::parse::{File, Line, parse};
use super::rule::{Rule, RuleSet, Step, Term, Var, VarInfo};

impl RuleSet {
    /// Reads the text of a rule file; `name` is its name in errors.
    pub fn parse(name: &'static str, text: &str) -> Result<Self, RuleError> {
        let file = parse(name, text)?;
        let mut rules: Vec<Rule> = Vec::new();
        for concrete in expand(name, &file)? {
            let line = concrete.line;
            let rule = compile(&file, &concrete).map_err(|fault| fault.in_file(name))?;
            if let Some(twin) = rules
                .iter()
                .find(|other| other.name() == rule.name() || other.number() == rule.number())
            {
                let message = format!(
                    "rules {} and {} have the same name or number: {}",
                    twin.number(),
                    rule.number(),
                    rule.name()
                );
                return Err(RuleError {
                    file: name,
                    line,
                    message,
                });
            }
            rules.push(rule);
        }
        Ok(Self::new(rules))
    }
}

/// What `where` calls the value that the pattern computes.
const RESULT: &str = "result";

fn compile(file: &File, concrete: &Concrete) -> Result<Rule, Fault> {
    let mut compiler = Compiler {
        file,
        vars: Vec::new(),
        names: HashMap::new(),
        steps: Vec::new(),
        pattern: None,
    };
    let root = compiler.body(&concrete.pattern, concrete.line)?;
    let pattern = std::mem::take(&mut compiler.steps);
    compiler.check_pattern(&pattern).map_err(|message| Fault {
        line: concrete.line,
        message,
    })?;
    compiler.pattern = Some(compiler.vars.len());
    let result = match compiler.value(&concrete.replacement)? {
        Some(value) => value,
        None => compiler.body(&concrete.replacement, concrete.line)?,
    };
    let replacement = std::mem::take(&mut compiler.steps);
    let (mut checks, mut named_result) = (Vec::new(), false);
    for (line, name, args) in guards(&concrete.guards)? {
        let mut known = |arg: &String| {
            let var = compiler.names.get(arg).copied();
            let var = var.filter(|var| compiler.is_input(*var));
            let var = var.or_else(|| (arg == RESULT).then_some(root));
            named_result |= var == Some(root);
            var.ok_or_else(|| Fault {
                line,
                message: format!("%{arg} is not an input of the pattern"),
            })
        };
        let args = args.iter().map(&mut known).collect::<Result<Vec<_>, _>>()?;
        checks.push(Guard::new(&name, args).map_err(|message| Fault { line, message })?);
    }
    if named_result {
        RESULT.clone_into(&mut compiler.vars[root].name);
    }
    let bound = match &concrete.within[..] {
        [] => Bound::Exact,
        // A family's cell may say nothing.
        [bound] if bound.text.is_empty() => Bound::Exact,
        [bound] => bound.text.parse().map_err(|message| Fault {
            line: bound.number,
            message,
        })?,
        [_, second, ..] => {
            return Err(Fault {
                line: second.number,
                message: "a rule has one bound".to_owned(),
            });
        }
    };
    Ok(Rule::new(
        (concrete.number, &concrete.name, concrete.line),
        pattern,
        (replacement, result),
        (checks, bound),
        compiler.vars,
    ))
}

struct Compiler<'a> {
    file: &'a File,
    vars: Vec<VarInfo>,
    names: HashMap<String, Var>,
    steps: Vec<Step>,
    /// When the replacement is read: the number of the pattern's values.
    pattern: Option<usize>,
}

impl Compiler<'_> {
    /// The input of the pattern that a replacement consists of; `None` when it computes something.
    fn value(&mut self, lines: &[Line]) -> Result<Option<Var>, Fault> {
        let [line] = lines else { return Ok(None) };
        let fault = |message| Fault {
            line: line.number,
            message,
        };
        let Expr::Value(name) = statement(&line.text).map_err(fault)?.value else {
            return Ok(None);
        };
        match self.operand(Expr::Value(name)).map_err(fault)? {
            Term::Var(var) => Ok(Some(var)),
            Term::Literal(_) => Ok(None),
        }
    }

    /// Reads operations; returns the value that the last one computes.
    fn body(&mut self, lines: &[Line], line: usize) -> Result<Var, Fault> {
        for (at, line) in lines.iter().enumerate() {
            let fault = |message| Fault {
                line: line.number,
                message,
            };
            let statement = statement(&line.text).map_err(fault)?;
            if statement.outputs.is_empty() != (at + 1 == lines.len()) {
                return Err(fault(
                    "the last line and no other must be `return`".to_owned(),
                ));
            }
            let Expr::Call(op, operands) = statement.value else {
                return Err(fault("a line must call an operator".to_owned()));
            };
            self.call(&op, operands, &statement.outputs)
                .map_err(fault)?;
        }
        match self.steps.last().map(|step| &step.outputs[..]) {
            Some(&[result]) => Ok(result),
            _ => Err(Fault {
                line,
                message: "the result must be the only output of an operator".to_owned(),
            }),
        }
    }

    fn call(
        &mut self,
        name: &str,
        operands: Vec<Expr>,
        outputs: &[String],
    ) -> Result<Vec<Var>, String> {
        let inputs = operands
            .into_iter()
            .map(|operand| self.operand(operand))
            .collect::<Result<Vec<_>, _>>()?;
        let op = self.operator(name, inputs.len(), outputs.len().max(1))?;
        let mut made = Vec::new();
        for at in 0..outputs.len().max(1) {
            let name = match outputs.get(at) {
                Some(name) if self.names.contains_key(name) => {
                    return Err(format!("%{name} is defined twice or too late"));
                }
                Some(name) => name.clone(),
                None => self.vars.len().to_string(),
            };
            let def = self.pattern.is_none().then_some((self.steps.len(), at));
            self.names.insert(name.clone(), self.vars.len());
            made.push(self.vars.len());
            self.vars.push(VarInfo { name, def, uses: 0 });
        }
        self.steps.push(Step {
            op,
            inputs,
            outputs: made.clone(),
        });
        Ok(made)
    }

    fn operand(&mut self, expr: Expr) -> Result<Term, String> {
        match expr {
            Expr::Literal(literal) => Ok(Term::Literal(literal)),
            Expr::Call(op, operands) => {
                let made = self.call(&op, operands, &[])?;
                self.vars[made[0]].uses += usize::from(self.pattern.is_none());
                Ok(Term::Var(made[0]))
            }
            Expr::Value(name) => {
                let var = match (self.names.get(&name), self.pattern) {
                    (Some(var), Some(of_pattern)) if *var < of_pattern && !self.is_input(*var) => {
                        return Err(format!(
                            "%{name} is computed inside the pattern, which will be gone"
                        ));
                    }
                    (Some(var), _) => *var,
                    (None, Some(_)) => return Err(format!("%{name} is unknown")),
                    (None, None) => {
                        self.names.insert(name.clone(), self.vars.len());
                        self.vars.push(VarInfo {
                            name,
                            def: None,
                            uses: 0,
                        });
                        self.vars.len() - 1
                    }
                };
                self.vars[var].uses += usize::from(self.pattern.is_none());
                Ok(Term::Var(var))
            }
        }
    }

    /// Whether this is a value that the pattern takes, so that it outlives the rewrite.
    fn is_input(&self, var: Var) -> bool {
        self.vars[var].def.is_none() && self.pattern.is_none_or(|of_pattern| var < of_pattern)
    }

    fn operator(&self, name: &str, inputs: usize, outputs: usize) -> Result<Op, String> {
        let short = self.file.shorts.iter().find(|(short, _)| short == name);
        let op = Op::of(short.map_or(name, |(_, op)| op));
        let Some(schema) = op.schema() else {
            return Err(format!("`{op}` is not declared"));
        };
        if schema.params.len() != inputs || schema.returns.len() != outputs {
            return Err(format!(
                "`{op}` takes {} and returns {}, not {inputs} and {outputs}",
                schema.params.len(),
                schema.returns.len()
            ));
        }
        Ok(op)
    }

    /// Every step must be reached from the root through operands: the matcher finds the others from it.
    fn check_pattern(&self, pattern: &[Step]) -> Result<(), String> {
        let mut reached = vec![false; pattern.len()];
        let mut stack = vec![pattern.len() - 1];
        while let Some(at) = stack.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            for term in &pattern[at].inputs {
                if let Term::Var(var) = term
                    && let Some((step, _)) = self.vars[*var].def
                {
                    stack.push(step);
                }
            }
        }
        match reached.iter().position(|reached| !reached) {
            Some(at) => Err(format!(
                "`{}` does not contribute to the result",
                pattern[at].op
            )),
            None => Ok(()),
        }
    }
}
