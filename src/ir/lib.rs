//! The graph IR of planish: modules, graphs, types, tensors, operators, text.
//!
//! A [`GraphModule`] is a tree of [`Module`]s whose classes have methods; a method's body is a [`Graph`]. A graph is a block of
//! [`Node`]s; a node applies an [`Op`] to values and may nest further blocks (`prim::If`, `prim::Loop`). Evaluation is in program order.
//! A value is computed once and never changes, except that a tensor, list, dict or object is a reference: operators whose schema says so
//! write to what it refers to, and everybody who shares it sees the write.
//!
//! Invariants stand in the room they belong to ([`Graph`] for dataflow) and are checked by the verifier.
//!
//! Absent by design: this crate does no input or output, knows no file format but its own text, and computes nothing.

mod calls;
mod copy;
pub mod diag;
mod dtype;
mod effects;
pub mod entity;
mod graph;
mod literal;
mod module;
mod name;
mod node;
mod ops;
mod order;
mod packed;
pub mod resolve;
mod same;
pub mod schema;
mod sym;
mod tensor;
pub mod text;
mod ty;
mod verify;
mod visit;

pub use calls::{CallGraph, Recursion};
pub use dtype::DType;
pub use entity::{PrimaryMap, SecondaryMap};
pub use graph::{At, Attributes, Graph, Walk};
pub use literal::{Literal, Object};
pub use module::{Class, ClassKind, GraphModule, Method, MethodId, Module, ModuleId, Phase};
pub use name::{Label, ValueName};
pub use node::{Attr, Block, BlockId, Def, Loc, Node, NodeId, Use, Value, ValueId};
pub use ops::{Effects, Op, OpInfo};
pub use order::ProgramOrder;
pub use packed::{ConvGeometry, PackedKind, PackedParams};
pub use same::isomorphic;
pub use sym::{Sym, SymMap};
pub use tensor::{
    Dims, Element, QParams, Tensor, TensorError, cast_elements, channels_last_strides,
    contiguous_strides,
};
pub use ty::{NamedTupleType, TensorType, Type};
pub use verify::{Entity, Verified, VerifyError, verify, verify_graph};
pub use visit::Visited;
