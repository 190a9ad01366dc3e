//! `planish rules`: the rewrite rules, and why they do not match.

use std::io::Write;

use planish::passes::{
    Answer, FINALIZE, Fuel, NoKernels, Options, PassCx, Pipeline, Remarks, WhyNot, rules,
    why_not as ask,
};

use crate::args;
use crate::diagnose::{Failure, failed, pipeline_failed};
use crate::environment;

/// Rules that are told of at most: the nearest ones.
const TOLD: usize = 3;

/// Lists rules, explains one, or says why none matches.
pub fn rules(args: &args::Rules, out: &mut impl Write) -> Result<(), Failure> {
    match &args.verb {
        args::RulesVerb::List => list(out),
        args::RulesVerb::Explain(args) => explain(&args.rule, out),
        args::RulesVerb::WhyNot(args) => why_not(args, out),
    }
}

fn list(out: &mut impl Write) -> Result<(), Failure> {
    for (name, set) in rules::sets() {
        writeln!(out, "{name}: {}", rules::source(name))?;
        for rule in set.rules() {
            writeln!(out, "{:>5} {}", rule.number(), rule.name())?;
        }
    }
    Ok(())
}

fn explain(asked: &str, out: &mut impl Write) -> Result<(), Failure> {
    let known = rules::sets().into_iter().flat_map(|(name, set)| {
        let rules = set.rules().iter();
        rules.map(move |rule| (name, rule))
    });
    let asked_for = |(_, rule): &(&str, &planish::passes::rewrite::Rule)| {
        rule.name() == asked || asked.parse() == Ok(rule.number())
    };
    let Some((set, rule)) = known.clone().find(asked_for) else {
        return Err(Failure::usage(format!(
            "failed to find rule {asked:?}: `planish rules list` shows the rules with their numbers and names"
        )));
    };
    write!(out, "{}", rules::explain(set, rule))?;
    Ok(())
}

fn why_not(args: &args::WhyNot, out: &mut impl Write) -> Result<(), Failure> {
    let mut module = environment::read_module(&args.input)?;
    let options = Options {
        quant_type: args.quant_type.into(),
        preserved: args.preserve.clone(),
        ..Options::default()
    };
    // A text is asked as it stands: it is the module at some point already.
    let is_text = args.input.extension().is_some_and(|end| end == "ir");
    let before = args.before.as_deref();
    if let Some(before) = before.or((!is_text).then_some("quant-fusion")) {
        let Some(at) = FINALIZE.iter().position(|pass| pass.name() == before) else {
            let known: Vec<&str> = FINALIZE.iter().map(|pass| pass.name()).collect();
            return Err(Failure::usage(format!(
                "failed to find {before:?} among the passes of Finalize: they are {}",
                known.join(", ")
            )));
        };
        let mut cx = PassCx {
            remarks: &mut Remarks::default(),
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &options,
            observer: None,
        };
        Pipeline::new(&FINALIZE[..at])
            .run(&mut module, &mut cx, &mut ())
            .map_err(|error| pipeline_failed(&error))?;
    }
    let answers = ask(&module, &options, &args.value).map_err(|error| failed(&error))?;
    for answer in &answers {
        tell(answer, out)?;
    }
    Ok(())
}

fn tell(found: &WhyNot, out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "{} in {}", found.node, found.method)?;
    match &found.answer {
        Answer::Parameter => writeln!(out, "  nothing computes it")?,
        Answer::NoRule => writeln!(out, "  no rule speaks about this operator")?,
        Answer::Matches(rule) => {
            let (number, name) = (rule.number(), rule.name());
            writeln!(out, "  rule {number} ({name}) matches here")?;
        }
        Answer::Near(near) => {
            for miss in near.iter().take(TOLD) {
                let rule = miss.rule;
                writeln!(
                    out,
                    "  rule {} ({}), {} of {} operators found: {}",
                    rule.number(),
                    rule.name(),
                    miss.matched,
                    rule.operators(),
                    miss.reason
                )?;
            }
            if near.len() > TOLD {
                writeln!(out, "  … and {} that are farther off", near.len() - TOLD)?;
            }
        }
    }
    Ok(())
}
