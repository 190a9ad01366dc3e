//! `finalize-on-device`: splits a method that quantizes its weights into one that packs them and one that runs on the packed weights.
//!
//! A model that is quantized on the device has a method `quantize_<m>`: the method `<m>` with its weights quantized by scales that
//! observers compute there. On the device it is called once, after the observers have seen the weights; then `quantized_<m>` stands for
//! `<m>`. Packing writes each packed weight to an attribute of the root, and empties the weight that it was made of.
//!
//! ```text
//! before: quantize_forward(self, x):
//!           %w_q : Tensor = aten::quantize_per_tensor(%w, %scale, %zero_point, %dtype)
//!           %w_f : Tensor = aten::dequantize(%w_q)
//!           %y : Tensor = aten::linear(%x, %w_f, %b)
//! after:  quantize_forward(self, x):
//!           %w_q : Tensor = aten::quantize_per_tensor(%w, %scale, %zero_point, %dtype)
//!           %p : __torch__.torch.classes.quantized.LinearPackedParamsBase = quantized::linear_prepack(%w_q, %b)
//!            = prim::SetAttr[name="_quantize_forward_ondevice_ptq_packed_weight_0"](%self, %p)
//!            = prim::SetAttr[name="weight"](%l, %empty)
//!         quantized_forward(self, x):
//!           %p : __torch__.torch.classes.quantized.LinearPackedParamsBase = prim::GetAttr[name="_quantize_forward_…_0"](%self)
//!           %y : Tensor = quantized::linear_dynamic(%x, %p, %true)
//! ```

use planish_ir::{
    At, DType, Effects, Graph, GraphModule, Literal, MethodId, NodeId, Op, Sym, Tensor, Type,
    ValueId, ValueName,
};

use crate::analysis::alias::Aliases;
use crate::analysis::objects::objects;
use crate::cse::pool_constants;
use crate::dce::eliminate_dead_code;
use crate::optimize::optimize;
use crate::pass::{Changed, Pass, PassCx, PassError};
use crate::{rules, scope};

/// The pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct FinalizeOnDevice;

const NAME: &str = "finalize-on-device";
const PREFIX: &str = "quantize_";

impl Pass for FinalizeOnDevice {
    fn name(&self) -> &'static str {
        NAME
    }

    fn doc(&self) -> &'static str {
        "splits quantize_<m> into packing the weights and quantized_<m>, which runs on them"
    }

    fn run(&self, module: &mut GraphModule, cx: &mut PassCx<'_>) -> Result<Changed, PassError> {
        let mut methods: Vec<(Sym, MethodId)> = module.root_methods();
        methods.retain(|(name, _)| name.as_str().starts_with(PREFIX));
        if methods.is_empty() {
            return Err(PassError::Refused(format!(
                "finalize for the device: no method of {} is called {PREFIX}<m>",
                module.module(module.root()).class
            )));
        }
        let mut changed = 0;
        for (name, id) in methods {
            changed += optimize(module, id, None, cx);
            let fused = scope::each_method(module, &[id], cx, |mut scope, graph, cx| {
                let outcome = scope.rewrite(graph, rules::on_device(), cx);
                let misses = scope.misses(graph, rules::on_device());
                scope.report(NAME, graph, &outcome, misses, cx)
            });
            changed += fused.0 + split(module, id, name)?;
        }
        Ok(Changed(changed))
    }
}

/// Makes the method that runs of the one that quantizes, and leaves to that one the packing alone.
fn split(module: &mut GraphModule, id: MethodId, name: Sym) -> Result<usize, PassError> {
    let root = module.module(module.root()).class;
    let target = format!("quantized_{}", &name.as_str()[PREFIX.len()..]);
    if module.root_method(&target).is_some() {
        return Err(PassError::Refused(format!(
            "finalize {name} for the device: there is a method {target} already"
        )));
    }
    let prepacks = prepacks(&module.method(id).graph);
    let attributes: Vec<Sym> = (0..prepacks.len())
        .map(|uid| register(module, name, uid))
        .collect();

    let mut runs = module.method(id).graph.clone();
    for (prepack, attribute) in prepacks.iter().zip(&attributes) {
        let this = runs.params()[0];
        let (old, ty) = (
            runs.output(*prepack),
            runs.ty(runs.output(*prepack)).clone(),
        );
        let read = runs.insert(At::Before(*prepack), Op::of("prim::GetAttr"), &[this], [ty]);
        runs.set_attr(read, "name", Literal::str(attribute.as_str()));
        let new = runs.output(read);
        runs.set_name(new, ValueName::new(attribute.as_str()));
        runs.replace_all_uses(old, new);
        runs.erase(*prepack);
    }
    strip(&mut runs);
    let objects_of_runs = objects(module, module.root(), &runs);
    let aliases = Aliases::of_writes(&runs, &objects_of_runs);
    eliminate_dead_code(&mut runs, &aliases);
    pool_constants(&mut runs, &aliases);

    let packs = &mut module.method_mut(id).graph;
    for (prepack, attribute) in prepacks.iter().zip(&attributes) {
        keep(packs, *prepack, *attribute);
    }
    packs.set_results(packs.entry(), &[]);
    let none = packs.insert_constant(At::End(packs.entry()), Literal::None);
    packs.set_results(packs.entry(), &[none]);
    let objects_of_packs = objects(module, module.root(), &module.method(id).graph);
    let packs = &mut module.method_mut(id).graph;
    let aliases = Aliases::of_writes(packs, &objects_of_packs);
    eliminate_dead_code(packs, &aliases);

    let params = module.method(id).params.clone();
    module.add_method(root, target.as_str().into(), params, runs.compact());
    Ok(prepacks.len())
}

fn prepacks(graph: &Graph) -> Vec<NodeId> {
    graph.find_all("quantized::linear_prepack")
}

/// Adds an attribute of the root for a packed weight; before packing it is `None`.
fn register(module: &mut GraphModule, method: Sym, uid: usize) -> Sym {
    let root = module.root();
    let mut name = format!("_{method}_ondevice_ptq_packed_weight_{uid}");
    let taken = |module: &GraphModule, name: &str| {
        let name = Sym::new(name);
        module.module(root).attrs.contains_key(&name) || module.submodule(root, name).is_some()
    };
    while taken(module, &name) {
        name = format!(
            "{}_{uid}",
            name.trim_end_matches(|c: char| c.is_ascii_digit())
        );
    }
    let name = Sym::new(&name);
    let class = Type::Class("__torch__.torch.classes.quantized.LinearPackedParamsBase".into());
    let owner = module.module(root).class;
    if let Some(owner) = module.classes.get_mut(&owner) {
        owner.fields.insert(name, Type::optional(class));
    }
    module.module_mut(root).attrs.insert(name, Literal::None);
    name
}

/// Writes a packed weight to its attribute, and empties the weight that it was made of.
fn keep(graph: &mut Graph, prepack: NodeId, attribute: Sym) {
    let (this, packed) = (graph.params()[0], graph.output(prepack));
    let set = |graph: &mut Graph, after: NodeId, inputs: [ValueId; 2], name: &str| {
        let set = graph.insert(At::After(after), Op::of("prim::SetAttr"), &inputs, []);
        graph.set_attr(set, "name", Literal::str(name));
        set
    };
    let kept = set(graph, prepack, [this, packed], attribute.as_str());
    let Some((owner, name)) = weight_of(graph, prepack) else {
        return;
    };
    let empty = Tensor::new(DType::Float, &[0], Vec::new());
    let empty = empty.expect("a tensor of no elements needs no bytes");
    let empty = graph.insert_constant(At::After(kept), Literal::Tensor(empty));
    let after = graph.producer(empty).unwrap_or(kept);
    set(graph, after, [owner, empty], &name);
}

/// The module and the name of the attribute that a weight is read from before it is quantized and packed.
fn weight_of(graph: &Graph, prepack: NodeId) -> Option<(ValueId, String)> {
    let quantize = graph.producer(*graph.node(prepack).inputs().first()?)?;
    let read = graph.producer(*graph.node(quantize).inputs().first()?)?;
    let name = graph.node(read).str_attr("name")?.to_owned();
    Some((*graph.node(read).inputs().first()?, name))
}

/// Removes what only packing needs: assignments, and calls whose answers nobody reads, which are those of observers.
fn strip(graph: &mut Graph) {
    for id in graph.in_order().into_iter().rev() {
        let node = graph.node(id);
        let unread = node
            .outputs()
            .iter()
            .all(|output| graph.value(*output).uses().is_empty());
        let removable = node.op().is("prim::SetAttr")
            || node.op().is("prim::CallMethod")
            || node.blocks().is_empty() && graph.effects(id) == Effects::Pure;
        if unread && removable {
            graph.erase(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fuel, NoKernels, Options, Pipeline, Remarks};
    use planish_eval::{Contract, Interpreter, Value};
    use planish_ir::text::parse_module;

    #[test]
    fn what_is_packed_on_the_device_answers_what_was_simulated() {
        let text = include_str!("../../tests/cases/finalize_on_device/linear.ir");
        let mut module = parse_module(text).expect("a module");
        let x = Tensor::from_values(&[2, 3], &[0.5_f32, -1., 0.25, 1., 0.75, -0.5]);
        let x = [Value::from(&Literal::Tensor(x.expect("six elements")))];
        let simulated = Interpreter::new(&module, Contract::Fbgemm)
            .call_method("quantize_forward", &x)
            .expect("it runs");
        let mut cx = PassCx {
            remarks: &mut Remarks::default(),
            kernels: &mut NoKernels,
            fuel: &mut Fuel::unlimited(),
            options: &Options::default(),
            observer: None,
        };
        let pipeline = Pipeline::new(&[&FinalizeOnDevice]);
        pipeline
            .run(&mut module, &mut cx, &mut ())
            .expect("it is split");
        let mut device = Interpreter::new(&module, Contract::Fbgemm);
        device
            .call_method("quantized_forward", &x)
            .expect_err("nothing is packed yet");
        let nothing = device
            .call_method("quantize_forward", &x)
            .expect("it packs");
        assert!(nothing.is_none());
        let found = device
            .call_method("quantized_forward", &x)
            .expect("it runs");
        let values = |value: &Value| value.as_tensor().and_then(|tensor| tensor.to_f32().ok());
        let pairs = values(&simulated)
            .into_iter()
            .flatten()
            .zip(values(&found).expect("floats"));
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(
            off > 0.0 && off < 0.02,
            "activations are rounded to 7 bits: {off}"
        );
    }
}
