//! Modules whose class sets its own attributes: `__setstate__` is run by the reference evaluator.
//!
//! Quantized modules of eager mode are saved so: their state is a tuple of plain values, and their
//! `__setstate__` packs the weight.

use planish_eval::{Contract, Interpreter, Limits, Value, to_literal};
use planish_ir::{GraphModule, Literal, ModuleId, Sym, Type};

use super::objects::Restore;
use crate::error::{Error, Result};

/// What one `__setstate__` may take: packing touches each weight a few times, and no module holds
/// more than 4 GiB of them.
const LIMITS: Limits = Limits {
    work: 1 << 34,
    depth: 64,
    bytes: 4 << 30,
};

/// Runs every `__setstate__` that waits and keeps what it assigned.
pub(super) fn run(model: &mut GraphModule, restores: &[Restore]) -> Result<()> {
    for restore in restores {
        let fail = |what: String| Error::object(&restore.path, what);
        let assigned = assigned(model, restore).map_err(fail)?;
        for (module, name, literal) in assigned {
            model.module_mut(module).attrs.insert(name, literal);
        }
        for (name, ty) in model.classes[&restore.class].fields.clone() {
            if model.module(restore.module).attrs.contains_key(&name) {
                continue;
            }
            // Nothing is what PyTorch has in an attribute that nobody assigned.
            if !Type::None.is_subtype_of(&ty) {
                let what = format!("`__setstate__` leaves attribute `{name}` open");
                return Err(fail(what));
            }
            let attrs = &mut model.module_mut(restore.module).attrs;
            attrs.insert(name, Literal::None);
        }
    }
    Ok(())
}

/// The attributes that one `__setstate__` assigns.
fn assigned(
    model: &GraphModule,
    restore: &Restore,
) -> std::result::Result<Vec<(ModuleId, Sym, Literal)>, String> {
    let Some(method) = model.find_method(restore.module, "__setstate__") else {
        let class = restore.class;
        return Err(format!(
            "its state is no dictionary, and class `{class}` has no `__setstate__`"
        ));
    };
    // Packing gives the same weight under every contract.
    let mut interpreter = Interpreter::new(model, Contract::default()).with_limits(LIMITS);
    let inputs = [Value::Module(restore.module), Value::from(&restore.state)];
    let ran = interpreter.call(method, &inputs);
    ran.map_err(|e| format!("`__setstate__`: {e}"))?;
    let written = interpreter.written();
    written
        .map(|(module, name, value)| {
            let literal = to_literal(value).map_err(|e| format!("attribute `{name}`: {e}"))?;
            Ok((module, name, literal))
        })
        .collect()
}
