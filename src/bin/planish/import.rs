//! `planish import`: prints a model in text form.

use crate::args;
use crate::diagnose::Failure;
use crate::environment;

/// Prints a model.
pub fn import(args: &args::Import) -> Result<(), Failure> {
    let module = environment::read_module(&args.model)?;
    print!("{}", environment::module_text(&module, args.elements));
    Ok(())
}
