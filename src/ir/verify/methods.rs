//! Laws of a module: methods fit their classes, and what they name exists.

use crate::{Class, ClassKind, GraphModule, MethodId, NodeId, Sym, Type};

use super::{Entity, Report, VerifyError, graph_errors};

pub(super) fn check(module: &GraphModule) -> Vec<VerifyError> {
    let mut errors = Vec::new();
    for id in module.modules() {
        let class = module.module(id).class;
        if !module.classes.contains_key(&class) {
            errors.push(VerifyError {
                method: String::new(),
                entity: Entity::Module(id),
                carrier: None,
                printed: format!("a module of class {class}"),
                message: "there is no such class".to_owned(),
            });
        }
    }
    for id in module.named_methods() {
        let name = module.qualified_name(id);
        let found = graph_errors(&module.method(id).graph, &name);
        // What a graph whose links are broken names cannot be asked for.
        let sound = found.is_empty();
        errors.extend(found);
        check_signature(module, id, &name, &mut errors);
        if sound {
            check_names(module, id, &name, &mut errors);
        }
    }
    errors
}

fn check_signature(module: &GraphModule, id: MethodId, name: &str, errors: &mut Vec<VerifyError>) {
    let method = module.method(id);
    let mut wrong = |message: String| {
        errors.push(VerifyError {
            method: String::new(),
            entity: Entity::Method(id),
            carrier: None,
            printed: name.to_owned(),
            message,
        });
    };
    let params = method.graph.params();
    if method.params.len() != params.len() {
        wrong(format!(
            "it declares {} parameters and its graph has {}",
            method.params.len(),
            params.len()
        ));
    }
    let Some(class) = method.class else { return };
    match params.first().map(|this| method.graph.ty(*this)) {
        Some(Type::Class(found)) if *found == class => {}
        // In a graph that was read from text, `self` may be anything.
        Some(Type::Any) => {}
        // A graph that was read on its own may do without an object, if there is nothing to ask it for.
        Some(found) if !matches!(found, Type::Class(_)) && nothing_to_ask_for(module, class) => {}
        None if nothing_to_ask_for(module, class) => {}
        Some(found) => wrong(format!("its first parameter must be {class}, not {found}")),
        None => wrong("it has no parameter for the object".to_owned()),
    }
}

/// Whether objects of a class have neither fields nor constants, and one method.
fn nothing_to_ask_for(module: &GraphModule, class: Sym) -> bool {
    module.classes.get(&class).is_some_and(|class| {
        class.fields.is_empty() && class.constants.is_empty() && class.methods.len() == 1
    })
}

/// Attributes and methods that the nodes of a method name.
fn check_names(module: &GraphModule, id: MethodId, name: &str, errors: &mut Vec<VerifyError>) {
    let graph = &module.method(id).graph;
    let mut report = Report {
        graph,
        method: name,
        errors,
    };
    for node in graph.walk() {
        if let Some(message) = unknown_name(module, &report, node) {
            report.node(node, message);
        }
    }
}

fn unknown_name(module: &GraphModule, report: &Report<'_>, node: NodeId) -> Option<String> {
    let found = report.graph.node(node);
    let of = found.inputs().first().map(|value| report.graph.ty(*value));
    match found.op().name().as_str() {
        "prim::GetAttr" | "prim::SetAttr" => {
            let (of, class) = class_of(module, of?)?;
            let name = found.name_attr()?;
            let Some(field) = class.fields.get(&name) else {
                let constant = class.constants.contains_key(&name);
                return (!constant).then(|| format!("{of} has no field `{name}`"));
            };
            let value = match found.outputs().first() {
                Some(output) => *output,
                None => *found.inputs().get(1)?,
            };
            let ty = report.graph.ty(value);
            let fits = ty.is_subtype_of(field)
                || field.is_subtype_of(ty)
                || is_interface(module, field) && matches!(ty, Type::Class(_));
            (!fits).then(|| format!("field `{name}` must be {field}, not {ty}"))
        }
        "prim::CallMethod" => {
            let (of, class) = class_of(module, of?)?;
            let name = found.name_attr()?;
            // The methods of an interface are those of whatever implements it.
            if class.kind == ClassKind::Interface {
                return None;
            }
            let Some(method) = class.methods.get(&name) else {
                return Some(format!("{of} has no method `{name}`"));
            };
            let (expected, given) = (module.method(*method).params.len(), found.inputs().len());
            (expected != given).then(|| format!("`{name}` takes {expected} inputs, not {given}"))
        }
        _ => None,
    }
}

/// Whether a type is an interface: then a value is of whatever class implements it.
fn is_interface(module: &GraphModule, ty: &Type) -> bool {
    class_of(module, ty).is_some_and(|(_, class)| class.kind == ClassKind::Interface)
}

/// The class of a type, where the module has it.
fn class_of<'a>(module: &'a GraphModule, ty: &Type) -> Option<(Sym, &'a Class)> {
    match ty {
        Type::Class(name) => Some((*name, module.classes.get(name)?)),
        _ => None,
    }
}
