//! `planish passes`: lists the passes.

use std::io::Write;

use planish::passes::{FINALIZE, passes as all};

use crate::diagnose::Failure;

/// Lists the passes: those of Finalize in their order, then the others.
pub fn passes(out: &mut impl Write) -> Result<(), Failure> {
    for (at, pass) in all().iter().enumerate() {
        let order = if at < FINALIZE.len() {
            format!("{}.", at + 1)
        } else {
            String::new()
        };
        writeln!(out, "{order:>3} {:<23} {}", pass.name(), pass.doc())?;
    }
    Ok(())
}
