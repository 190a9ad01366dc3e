use planish_ir::{At, Graph, GraphModule, Literal, Op, Type, ValueId};

use super::*;
use crate::Tensor;

fn node(graph: &mut Graph, at: At, op: &str, inputs: &[ValueId], ty: Type) -> ValueId {
    let node = graph.insert(at, Op::of(op), inputs, [ty]);
    graph.output(node)
}

/// `total = 0; for i in range(limit) if go on: total += i`
fn counting(graph: &mut Graph, limit: i64) -> NodeId {
    let entry = At::End(graph.entry());
    let limit = graph.insert_constant(entry, Literal::Int(limit));
    let zero = graph.insert_constant(entry, Literal::Int(0));
    let yes = graph.insert_constant(entry, Literal::Bool(true));
    let inputs = [limit, yes, zero];
    let repeat = graph.insert(entry, Op::of("prim::Loop"), &inputs, [Type::Int]);
    let body = graph.add_block(repeat);
    let count = graph.add_param(body, Type::Int);
    let total = graph.add_param(body, Type::Int);
    let sum = node(
        graph,
        At::End(body),
        "aten::add.int",
        &[total, count],
        Type::Int,
    );
    graph.push_result(body, yes);
    graph.push_result(body, sum);
    repeat
}

#[test]
fn loops_carry_values() {
    let mut graph = Graph::new();
    let repeat = counting(&mut graph, 5);
    let total = graph.output(repeat);
    graph.set_results(graph.entry(), &[total]);
    let out = run_graph(&graph, &[], Contract::Fbgemm).unwrap();
    assert!(out[0].equals(&Value::Int(10)));
}

#[test]
fn branches_run_one_side_and_raise_with_their_place() {
    let mut graph = Graph::new();
    let entry = graph.entry();
    let condition = graph.add_param(entry, Type::Bool);
    let branch = graph.insert(
        At::End(entry),
        Op::of("prim::If"),
        &[condition],
        [Type::Str],
    );
    let then = graph.add_block(branch);
    let text = graph.insert_constant(At::End(then), Literal::str("fine"));
    graph.push_result(then, text);
    let other = graph.add_block(branch);
    let message = graph.insert_constant(At::End(other), Literal::str("no"));
    let class = graph.insert_constant(At::End(other), Literal::str("builtins.ValueError"));
    let raise = graph.insert(
        At::End(other),
        Op::of("prim::RaiseException"),
        &[message, class],
        [],
    );
    let file = "model.py".into();
    let (line, column) = (3, 4);
    graph.set_loc(raise, Some(planish_ir::Loc { file, line, column }));
    graph.push_result(other, message);
    let out = graph.output(branch);
    graph.set_results(entry, &[out]);
    let run = |condition: bool| run_graph(&graph, &[condition.into()], Contract::Fbgemm);
    assert_eq!(run(true).unwrap()[0].to_string(), "fine");
    let Err(Error::Raised {
        class,
        message,
        loc: Some(loc),
    }) = run(false)
    else {
        panic!("an exception with its place was expected");
    };
    assert_eq!(
        (class.as_str(), message.as_str(), loc.line),
        ("builtins.ValueError", "no", 3)
    );
}

/// A module whose `bump` adds its argument to the attribute `total`, in place and by assignment.
fn counter() -> GraphModule {
    let class = "__torch__.Counter".into();
    let mut model = GraphModule::new(class, "test");
    let root = model.root();
    let total = planish_ir::Tensor::from_values(&[1], &[1f32]).unwrap();
    let attrs = &mut model.module_mut(root).attrs;
    attrs.insert("total".into(), Literal::Tensor(total));
    attrs.insert("calls".into(), Literal::Int(0));
    let mut graph = Graph::new();
    let entry = graph.entry();
    let this = graph.add_param(entry, Type::Class(class));
    let more = graph.add_param(entry, Type::TENSOR);
    let end = At::End(entry);
    let get = |graph: &mut Graph, name: &str, ty: Type| {
        let node = graph.insert(end, Op::of("prim::GetAttr"), &[this], [ty]);
        graph.set_attr(node, "name", Literal::str(name));
        graph.output(node)
    };
    let total = get(&mut graph, "total", Type::TENSOR);
    let calls = get(&mut graph, "calls", Type::Int);
    let one = graph.insert_constant(end, Literal::Int(1));
    let sum = node(
        &mut graph,
        end,
        "aten::add_.Tensor",
        &[total, more, one],
        Type::TENSOR,
    );
    let next = node(&mut graph, end, "aten::add.int", &[calls, one], Type::Int);
    let set = graph.insert(end, Op::of("prim::SetAttr"), &[this, next], []);
    graph.set_attr(set, "name", Literal::str("calls"));
    graph.set_results(entry, &[sum]);
    let params = vec![("self".into(), None), ("more".into(), None)];
    model.add_method(class, "bump".into(), params, graph);
    model
}

#[test]
fn attributes_stay_with_the_interpreter_and_the_model_never_changes() {
    let model = counter();
    let two = Value::from(Tensor::from_values(&[1], &[2f32]).unwrap());
    let mut interpreter = Interpreter::new(&model, Contract::Fbgemm);
    interpreter
        .call_method("bump", std::slice::from_ref(&two))
        .unwrap();
    let out = interpreter.call_method("bump", &[two]).unwrap();
    assert_eq!(out.as_tensor().unwrap().to_f32().unwrap(), [5.0]);
    let written: Vec<_> = interpreter.written().collect();
    assert_eq!(written.len(), 1);
    assert!(written[0].1 == "calls" && written[0].2.equals(&Value::Int(2)));
    let Some(Literal::Tensor(total)) = model.module(model.root()).attrs.get(&Sym::new("total"))
    else {
        panic!("the attribute is a tensor");
    };
    assert_eq!(total.values::<f32>().unwrap(), [1.0]);
}

#[test]
fn an_object_may_stand_for_self() {
    let model = counter();
    let method = model.root_method("bump").unwrap();
    let total = Value::from(Tensor::from_values(&[1], &[1f32]).unwrap());
    let fields = [("total".into(), total), ("calls".into(), Value::Int(7))];
    let object = crate::Object::new("__torch__.Counter".into(), fields.into_iter().collect());
    let two = Value::from(Tensor::from_values(&[1], &[2f32]).unwrap());
    let mut interpreter = Interpreter::new(&model, Contract::Fbgemm);
    interpreter
        .call(method, &[Value::Object(object.clone()), two])
        .unwrap();
    assert!(object.get("calls".into()).unwrap().equals(&Value::Int(8)));
}

#[test]
fn work_and_memory_are_bounded() {
    let class = "__torch__.Endless".into();
    let mut model = GraphModule::new(class, "test");
    let mut graph = Graph::new();
    let entry = graph.entry();
    graph.add_param(entry, Type::Class(class));
    counting(&mut graph, i64::MAX);
    model.add_method(class, "forward".into(), vec![("self".into(), None)], graph);
    let mut graph = Graph::new();
    let entry = graph.entry();
    graph.add_param(entry, Type::Class(class));
    let size = graph.insert_constant(At::End(entry), Literal::ints(&[1 << 20, 1 << 20]));
    node(
        &mut graph,
        At::End(entry),
        "aten::zeros",
        &[size],
        Type::TENSOR,
    );
    model.add_method(class, "large".into(), vec![("self".into(), None)], graph);
    let limits = Limits {
        work: 1000,
        bytes: 1 << 20,
        ..Limits::default()
    };
    let run = |name: &str| {
        let mut interpreter = Interpreter::new(&model, Contract::Fbgemm).with_limits(limits);
        interpreter.call_method(name, &[]).unwrap_err().to_string()
    };
    assert!(run("forward").contains("1000 steps"), "{}", run("forward"));
    assert!(
        run("large").contains("1048576 bytes of tensors"),
        "{}",
        run("large")
    );
}

#[test]
fn nodes_fold_on_their_own_unless_they_use_a_module() {
    let mut graph = Graph::new();
    let end = At::End(graph.entry());
    let two = graph.insert_constant(end, Literal::Int(2));
    let list = graph.insert(
        end,
        Op::of("prim::ListConstruct"),
        &[two],
        [Type::list(Type::Int)],
    );
    let out = eval_node(
        &graph,
        list,
        &[Value::Int(2)],
        Contract::Fbgemm,
        Limits::default(),
    )
    .unwrap();
    assert!(out[0].equals(&Value::ints(&[2])));
    let print = graph.insert(end, Op::of("prim::Print"), &[two], []);
    let error = eval_node(
        &graph,
        print,
        &[Value::Int(2)],
        Contract::Fbgemm,
        Limits::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("prim::Print"), "{error}");
}
