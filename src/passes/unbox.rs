//! Objects of script classes that stay inside a method become the values of their attributes.
//!
//! ```text
//! before: %o : __torch__.Counter = prim::CreateObject()
//!          = prim::SetAttr[name="count"](%o, %one)
//!         %n : int = prim::GetAttr[name="count"](%o)
//!         %m : int = aten::add(%n, %one)
//! after:  %m : int = aten::add(%one, %one)
//! ```
//!
//! An object stays inside when all that is done with it is reading and assigning its attributes. What branches assign becomes an output of
//! the branch, what loops assign is carried.

use indexmap::{IndexMap, IndexSet};
use planish_ir::{At, BlockId, Graph, GraphModule, NodeId, Op, Sym, SymMap, Type, Use, ValueId};

/// Replaces such objects in a graph without calls; returns how many.
pub(crate) fn unbox_objects(module: &GraphModule, graph: &mut Graph) -> usize {
    let mut count = 0;
    loop {
        // An object that was an attribute of another one stays inside once that is gone.
        match unbox_once(module, graph) {
            0 => return count,
            more => count += more,
        }
    }
}

fn unbox_once(module: &GraphModule, graph: &mut Graph) -> usize {
    let mut count = 0;
    for node in graph.find_all("prim::CreateObject") {
        let object = graph.output(node);
        let Type::Class(class) = *graph.ty(object) else {
            continue;
        };
        let Some(class) = module.classes.get(&class) else {
            continue;
        };
        if !stays_inside(graph, object) {
            continue;
        }
        let object = Object {
            value: object,
            fields: &class.fields,
        };
        let block = graph.block_of(node);
        object.replace(graph, block, &mut IndexMap::new());
        graph.erase(node);
        count += 1;
    }
    count
}

/// Whether an object is only asked for and given attributes, in branches and loops at most.
fn stays_inside(graph: &Graph, object: ValueId) -> bool {
    graph.value(object).uses().iter().all(|at| {
        let Use::Input(user, 0) = *at else {
            return false;
        };
        let op = graph.node(user).op();
        op.is("prim::GetAttr") || op.is("prim::SetAttr")
    })
}

struct Object<'a> {
    value: ValueId,
    fields: &'a SymMap<Type>,
}

/// What each attribute is at a place in the program; one that nobody assigned is missing.
type Values = IndexMap<Sym, ValueId>;

impl Object<'_> {
    /// Replaces what a block does with the object; `values` are the attributes before the block, and after it.
    fn replace(&self, graph: &mut Graph, block: BlockId, values: &mut Values) {
        let nodes: Vec<NodeId> = graph.nodes(block).collect();
        for node in nodes {
            match self.access(graph, node) {
                Some((name, true)) => {
                    values.insert(name, graph.node(node).inputs()[1]);
                    graph.erase(node);
                }
                Some((name, false)) => {
                    let output = graph.output(node);
                    let ty = graph.ty(output).clone();
                    let value = value_of(graph, values, name, ty, node);
                    graph.replace_all_uses(output, value);
                    graph.erase(node);
                }
                None => self.replace_inside(graph, node, values),
            }
        }
    }

    fn replace_inside(&self, graph: &mut Graph, node: NodeId, values: &mut Values) {
        let assigned = self.assigned(graph, node);
        match *graph.node(node).blocks() {
            [] => {}
            [body] if graph.node(node).op().is("prim::Loop") => {
                let mut inner = values.clone();
                for name in &assigned {
                    let ty = self.ty(*name);
                    let first = value_of(graph, values, *name, ty.clone(), node);
                    graph.push_input(node, first);
                    inner.insert(*name, graph.add_param(body, ty));
                }
                self.replace(graph, body, &mut inner);
                for name in assigned {
                    graph.push_result(body, inner[&name]);
                    values.insert(name, graph.add_output(node, self.ty(name)));
                }
            }
            ref blocks => {
                let blocks = blocks.to_vec();
                let mut after = Vec::with_capacity(blocks.len());
                for block in &blocks {
                    let mut inner = values.clone();
                    self.replace(graph, *block, &mut inner);
                    after.push(inner);
                }
                for name in assigned {
                    for (block, inner) in blocks.iter().zip(&after) {
                        let value = inner.get(&name).copied();
                        let value = value
                            .unwrap_or_else(|| never_read(graph, At::End(*block), self.ty(name)));
                        graph.push_result(*block, value);
                    }
                    values.insert(name, graph.add_output(node, self.ty(name)));
                }
            }
        }
    }

    /// The attributes that the blocks of a node assign.
    fn assigned(&self, graph: &Graph, node: NodeId) -> IndexSet<Sym> {
        let mut nested = Vec::new();
        for block in graph.node(node).blocks() {
            nested.extend(graph.walk_block(*block));
        }
        let accesses = nested
            .into_iter()
            .filter_map(|node| self.access(graph, node));
        accesses
            .filter_map(|(name, assigns)| assigns.then_some(name))
            .collect()
    }

    /// The attribute of the object that a node reads (`false`) or assigns (`true`).
    fn access(&self, graph: &Graph, node: NodeId) -> Option<(Sym, bool)> {
        let node = graph.node(node);
        let assigns = node.op().is("prim::SetAttr");
        if !assigns && !node.op().is("prim::GetAttr") || node.inputs().first() != Some(&self.value)
        {
            return None;
        }
        Some((node.name_attr()?, assigns))
    }

    fn ty(&self, name: Sym) -> Type {
        self.fields.get(&name).cloned().unwrap_or(Type::Any)
    }
}

/// What an attribute is before a node.
fn value_of(graph: &mut Graph, values: &Values, name: Sym, ty: Type, before: NodeId) -> ValueId {
    let known = values.get(&name).copied();
    known.unwrap_or_else(|| never_read(graph, At::Before(before), ty))
}

/// What stands for an attribute that nobody assigned.
fn never_read(graph: &mut Graph, at: At, ty: Type) -> ValueId {
    let node = graph.insert(at, Op::of("prim::Uninitialized"), &[], [ty]);
    graph.output(node)
}
