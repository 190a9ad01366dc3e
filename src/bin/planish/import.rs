//! `planish import`: prints a model in text form.

use std::io::Write;

use crate::args;
use crate::diagnose::Failure;
use crate::environment;

/// Prints a model.
pub fn import(args: &args::Import, out: &mut impl Write) -> Result<(), Failure> {
    let module = environment::read_module(&args.model)?;
    Ok(out.write_all(environment::module_text(&module, args.print).as_bytes())?)
}
