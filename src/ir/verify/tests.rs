use super::*;
use crate::{At, ClassKind, Def, Op, Use};

/// `%y = relu(%x)`, `%z = If(%c)` over a relu of each, returns `%z`.
struct Sample {
    graph: Graph,
    x: ValueId,
    relu: NodeId,
    branch: NodeId,
    inner: [NodeId; 2],
}

fn sample() -> Sample {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    let cond = graph.add_param(entry, Type::Bool);
    let op = Op::of("aten::relu");
    let relu = graph.insert(At::End(entry), op, &[x], [Type::TENSOR]);
    let y = graph.output(relu);
    let branch = graph.insert(At::End(entry), Op::of("prim::If"), &[cond], [Type::TENSOR]);
    let inner = [x, y].map(|value| {
        let block = graph.add_block(branch);
        let inner = graph.insert(At::End(block), op, &[value], [Type::TENSOR]);
        let out = graph.output(inner);
        graph.push_result(block, out);
        inner
    });
    let z = graph.output(branch);
    graph.push_result(entry, z);
    Sample {
        graph,
        x,
        relu,
        branch,
        inner,
    }
}

fn messages(graph: &Graph) -> Vec<String> {
    match verify_graph(graph) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The graph breaks a law, and one error says so.
fn broken(graph: &Graph, message: &str) {
    let messages = messages(graph);
    assert!(
        messages.iter().any(|found| found.contains(message)),
        "{message:?} is not in {messages:#?}"
    );
}

#[test]
fn a_sound_graph_has_no_errors() {
    assert_eq!(messages(&sample().graph), [""; 0]);
    assert_eq!(messages(&Graph::new()), [""; 0]);
}

#[test]
fn every_node_stands_in_one_place() {
    let mut s = sample();
    s.graph.nodes.heads[s.relu].next = Some(s.relu);
    broken(&s.graph, "the node stands in two places");

    let mut s = sample();
    s.graph.nodes.heads[s.relu].next = None;
    broken(&s.graph, "the last node is not the end");
    broken(&s.graph, "the node stands in no block");

    let mut s = sample();
    s.graph.nodes.heads[s.branch].prev = None;
    broken(&s.graph, "the node before it does not link to it");

    let mut s = sample();
    s.graph.nodes.heads[s.relu].live = false;
    broken(&s.graph, "erased but still stands in a block");

    let mut s = sample();
    let nested = s.graph.node(s.branch).blocks()[0];
    s.graph.nodes.heads[s.relu].block = nested;
    broken(&s.graph, "takes itself to stand in");
}

#[test]
fn every_block_is_nested_once_and_knows_where() {
    let mut s = sample();
    let nested = s.graph.node(s.branch).blocks()[0];
    s.graph.raw_block(nested).parent = None;
    broken(&s.graph, "nested in another node");

    let mut s = sample();
    let entry = s.graph.entry();
    let blocks = &mut s.graph.nodes.margins[s.branch].blocks;
    blocks.as_mut().expect("a branch has blocks")[0] = entry;
    broken(&s.graph, "the block is nested twice");
}

#[test]
fn definitions_know_where_they_stand() {
    let mut s = sample();
    s.graph.values.defs[s.x] = Def::Output(s.relu, 0);
    broken(&s.graph, "takes itself to be");

    let mut s = sample();
    let inputs = s.graph.nodes.operands[s.relu].inputs;
    s.graph.nodes.lists.get_mut(inputs)[0] = crate::entity::EntityId::from_index(999);
    broken(&s.graph, "input 0 is a value of another graph");
}

#[test]
fn use_lists_mirror_operands() {
    let mut s = sample();
    let values = &mut s.graph.values;
    values.lists.pop(&mut values.uses[s.x]);
    broken(&s.graph, "does not stand in the value's use list");

    let mut s = sample();
    let stale = Use::Input(s.relu, 0);
    let values = &mut s.graph.values;
    values.lists.push(&mut values.uses[s.x], stale);
    broken(&s.graph, "the use list has 3 entries for 2 uses");

    let mut s = sample();
    s.graph.nodes.set_slot(s.relu, 0, 1);
    broken(&s.graph, "does not stand in the value's use list");

    let mut s = sample();
    let entry = s.graph.entry();
    s.graph.raw_block(entry).result_slots[0] = 7;
    broken(&s.graph, "result 0 does not stand in the value's use list");
}

#[test]
fn definitions_dominate_uses() {
    let mut s = sample();
    s.graph.move_node(s.relu, At::After(s.branch));
    broken(&s.graph, "is not defined on every way to here");

    let mut s = sample();
    let (inside, entry) = (s.graph.output(s.inner[0]), s.graph.entry());
    s.graph.set_results(entry, &[inside]);
    broken(&s.graph, "as a result");

    let mut s = sample();
    let own = s.graph.output(s.relu);
    s.graph.set_input(s.relu, 0, own);
    broken(&s.graph, "is not defined on every way to here");
}

#[test]
fn operators_get_and_give_what_their_schema_says() {
    let mut s = sample();
    s.graph.push_input(s.relu, s.x);
    broken(&s.graph, "it takes at most 1 arguments");

    let mut s = sample();
    s.graph.set_inputs(s.relu, &[]);
    broken(&s.graph, "nothing is given for `self`");

    let mut s = sample();
    s.graph.set_ty(s.x, Type::Str);
    broken(&s.graph, "`self` must be Tensor, not str");

    let mut s = sample();
    s.graph.add_output(s.relu, Type::TENSOR);
    broken(&s.graph, "it must have 1 outputs, not 2");

    let mut s = sample();
    let out = s.graph.output(s.relu);
    s.graph.set_ty(out, Type::Int);
    broken(&s.graph, "output 0 must be Tensor");

    let mut s = sample();
    s.graph.set_op(s.relu, Op::of("aten::slice"));
    broken(&s.graph, "no overload of the operator is meant");

    let mut s = sample();
    s.graph.add_block(s.relu);
    broken(&s.graph, "an operator with a schema has no blocks");
}

#[test]
fn nobody_knows_what_an_undeclared_operator_takes() {
    let mut s = sample();
    s.graph.set_op(s.relu, Op::of("mine::anything"));
    s.graph.push_input(s.relu, s.x);
    assert_eq!(messages(&s.graph), [""; 0]);
}

#[test]
fn branches_give_what_the_node_gives() {
    let mut s = sample();
    let then = s.graph.node(s.branch).blocks()[0];
    s.graph.set_results(then, &[]);
    broken(
        &s.graph,
        "block0 must have 0 parameters and 1 results, not 0 and 0",
    );

    let mut s = sample();
    let out = s.graph.output(s.branch);
    s.graph.set_ty(out, Type::Int);
    broken(&s.graph, "a result must be int, not Tensor");

    let mut s = sample();
    s.graph.set_input(s.branch, 0, s.x);
    broken(&s.graph, "the condition must be bool, not Tensor");

    let mut s = sample();
    s.graph.add_block(s.branch);
    broken(&s.graph, "it must have 2 blocks, not 3");
}

/// A loop that carries one tensor.
fn repeat() -> (Graph, NodeId, BlockId) {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    let trips = graph.insert_constant(At::End(entry), Literal::Int(3));
    let go = graph.insert_constant(At::End(entry), Literal::Bool(true));
    let node = graph.insert(
        At::End(entry),
        Op::of("prim::Loop"),
        &[trips, go, x],
        [Type::TENSOR],
    );
    let body = graph.add_block(node);
    graph.add_param(body, Type::Int);
    let carried = graph.add_param(body, Type::TENSOR);
    graph.set_results(body, &[go, carried]);
    let out = graph.output(node);
    graph.set_results(entry, &[out]);
    (graph, node, body)
}

#[test]
fn loops_carry_what_they_give() {
    assert_eq!(messages(&repeat().0), [""; 0]);

    let (mut graph, node, _) = repeat();
    graph.remove_input(node, 2);
    broken(&graph, "it must have 3 inputs and 1 outputs, not 2 and 1");

    let (mut graph, _, body) = repeat();
    graph.add_param(body, Type::Int);
    broken(
        &graph,
        "block0 must have 2 parameters and 2 results, not 3 and 2",
    );

    let (mut graph, _, body) = repeat();
    let carried = graph.block(body).params()[1];
    graph.set_results(body, &[carried, carried]);
    broken(&graph, "the next condition must be bool, not Tensor");

    let (mut graph, _, body) = repeat();
    let counter = graph.block(body).params()[0];
    graph.set_ty(counter, Type::Float);
    broken(&graph, "the counter must be int, not float");
}

#[test]
fn structural_operators_follow_their_rules() {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let x = graph.add_param(entry, Type::TENSOR);
    let n = graph.add_param(entry, Type::Int);
    let pair = graph.add_param(entry, Type::tuple([Type::Int, Type::TENSOR]));
    let cases: [(&str, &[ValueId], &[Type], &str); 12] = [
        (
            "prim::Constant",
            &[],
            &[Type::Int],
            "the value must be NoneType, not int",
        ),
        (
            "prim::Constant",
            &[x],
            &[Type::None],
            "it must have 0 inputs",
        ),
        (
            "prim::ListConstruct",
            &[x, n],
            &[Type::list(Type::TENSOR)],
            "an element must be Tensor, not int",
        ),
        (
            "prim::ListConstruct",
            &[x],
            &[Type::TENSOR],
            "the output must be a list",
        ),
        (
            "prim::ListUnpack",
            &[x],
            &[Type::TENSOR],
            "the input must be a list",
        ),
        (
            "prim::TupleConstruct",
            &[n],
            &[Type::tuple([Type::Int, Type::Int])],
            "the output must be a tuple of 1",
        ),
        (
            "prim::TupleUnpack",
            &[pair],
            &[Type::Int],
            "the input must be a tuple of 1",
        ),
        (
            "prim::TupleUnpack",
            &[pair],
            &[Type::TENSOR, Type::TENSOR],
            "output 0 must be int, not Tensor",
        ),
        (
            "prim::DictConstruct",
            &[n],
            &[Type::dict(Type::Int, Type::Int)],
            "a key has no value",
        ),
        (
            "prim::GetAttr",
            &[x],
            &[Type::TENSOR],
            "no attribute `name`",
        ),
        ("prim::SetAttr", &[x], &[], "it must have 2 inputs"),
        (
            "prim::isinstance",
            &[x],
            &[Type::Bool],
            "no attribute `types`",
        ),
    ];
    for (op, inputs, outputs, message) in cases {
        let mut graph = graph.clone();
        graph.insert(At::End(entry), Op::of(op), inputs, outputs.iter().cloned());
        broken(&graph, message);
    }
    let wrong = graph.insert_typed_constant(At::End(entry), Literal::Float(1.0), Type::Int);
    broken(&graph, "the value must be float, not int");
    let _ = wrong;
}

#[test]
fn carried_graphs_are_checked_too() {
    let mut s = sample();
    let mut body = sample();
    body.graph.set_inputs(body.relu, &[]);
    s.graph.set_op(s.relu, Op::of("mine::fork"));
    s.graph
        .set_attr(s.relu, "body", Attr::Graph(Arc::new(body.graph)));
    broken(&s.graph, "nothing is given for `self`");
}

#[test]
fn all_errors_are_collected() {
    let mut s = sample();
    s.graph.set_inputs(s.relu, &[]);
    s.graph.set_input(s.branch, 0, s.x);
    let cut = s.graph.output(s.inner[0]);
    s.graph.set_ty(cut, Type::Str);
    assert!(messages(&s.graph).len() >= 3);
}

fn model() -> (GraphModule, Sym, MethodId) {
    let class = Sym::new("__torch__.VerifyNet");
    let mut model = GraphModule::new(class, "test");
    let mut graph = Graph::new();
    let entry = graph.entry();
    let this = graph.add_param(entry, Type::Class(class));
    let read = graph.insert(
        At::End(entry),
        Op::of("prim::GetAttr"),
        &[this],
        [Type::TENSOR],
    );
    graph.set_attr(read, "name", Literal::str("weight"));
    let out = graph.output(read);
    graph.set_results(entry, &[out]);
    let fields = &mut model.classes[&class].fields;
    fields.insert(Sym::new("weight"), Type::TENSOR);
    let params = vec![(Sym::new("self"), None)];
    let forward = model.add_method(class, Sym::new("forward"), params, graph);
    (model, class, forward)
}

fn broken_model(model: &GraphModule, message: &str) {
    let errors = verify(model).expect_err(message);
    assert!(
        errors
            .iter()
            .any(|error| error.to_string().contains(message)),
        "{message:?} is not in {errors:#?}"
    );
}

#[test]
fn a_sound_model_is_proved() {
    let (model, ..) = model();
    let proof = verify(&model).expect("sound");
    assert_eq!(proof.root(), model.root());
}

#[test]
fn names_exist_and_methods_fit_their_class() {
    let (mut m, class, _) = model();
    m.classes[&class].fields.clear();
    broken_model(&m, "has no field `weight`");

    let (mut m, class, _) = model();
    m.classes[&class].fields[&Sym::new("weight")] = Type::Str;
    broken_model(&m, "field `weight` must be str, not Tensor");

    let (mut m, _, forward) = model();
    let this = m.method(forward).graph.params()[0];
    m.method_mut(forward)
        .graph
        .set_ty(this, Type::class("__torch__.Other"));
    broken_model(&m, "its first parameter must be __torch__.VerifyNet");

    let (mut m, _, forward) = model();
    m.method_mut(forward).params.clear();
    broken_model(&m, "it declares 0 parameters and its graph has 1");

    let (mut m, _, forward) = model();
    let graph = &mut m.method_mut(forward).graph;
    let this = graph.params()[0];
    let call = graph.insert(
        At::End(graph.entry()),
        Op::of("prim::CallMethod"),
        &[this, this],
        [Type::TENSOR],
    );
    graph.set_attr(call, "name", Literal::str("forward"));
    broken_model(&m, "`forward` takes 1 inputs, not 2");
    let graph = &mut m.method_mut(forward).graph;
    graph.set_attr(call, "name", Literal::str("backward"));
    broken_model(&m, "has no method `backward`");

    for (op, message) in [
        (
            "prim::Enter",
            "it must have 1 inputs and 1 outputs, not 0 and 1",
        ),
        (
            "prim::CallFunction",
            "it must have 1 inputs and 1 outputs, not 0 and 1",
        ),
    ] {
        let (mut m, _, forward) = model();
        let graph = &mut m.method_mut(forward).graph;
        graph.insert(At::End(graph.entry()), Op::of(op), &[], [Type::TENSOR]);
        broken_model(&m, message);
    }

    let (mut m, ..) = model();
    m.add_module(Sym::new("__torch__.Nobody"));
    broken_model(&m, "there is no such class");

    let (mut m, class, _) = model();
    m.classes[&class].kind = ClassKind::Interface;
    assert!(verify(&m).is_ok());
}

#[test]
fn errors_name_the_method_and_print_the_node() {
    let (mut m, class, _) = model();
    m.classes[&class].fields.clear();
    let errors = verify(&m).expect_err("no field");
    let text = errors[0].to_string();
    assert!(
        text.starts_with(
            "__torch__.VerifyNet.forward: %1 : Tensor = prim::GetAttr[name=\"weight\"](%0): "
        ),
        "{text}"
    );
}
