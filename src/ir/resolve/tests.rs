use super::*;

fn tensor() -> Argument {
    Argument::of(Type::TENSOR)
}

fn int(value: i64) -> Argument {
    Argument::literal(Literal::Int(value))
}

fn call(name: &str, positional: &[Argument]) -> Resolved {
    resolve(name.into(), positional, &[]).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn omitted_arguments_get_their_defaults() {
    let ints = || Argument::literal(Literal::ints(&[2, 2]));
    let bias = Argument::of(Type::None);
    let resolved = call("aten::conv2d", &[tensor(), tensor(), bias, ints()]);
    assert_eq!(resolved.op.to_string(), "aten::conv2d");
    assert_eq!(resolved.operands[3], Operand::Given(Source::Positional(3)));
    assert_eq!(
        resolved.operands[4..],
        [
            Operand::Default(Literal::ints(&[0, 0])),
            Operand::Default(Literal::ints(&[1, 1])),
            Operand::Default(Literal::Int(1)),
        ]
    );
    assert_eq!(resolved.outputs, [Type::TENSOR]);
}

#[test]
fn the_first_overload_that_fits_without_conversion_is_meant() {
    let op = |name, positional: &[Argument]| call(name, positional).op.to_string();
    assert_eq!(op("aten::add", &[tensor(), tensor()]), "aten::add.Tensor");
    assert_eq!(op("aten::add", &[tensor(), int(1)]), "aten::add.Scalar");
    assert_eq!(op("aten::add", &[int(1), int(2)]), "aten::add.int");
    assert_eq!(
        op(
            "aten::add",
            &[
                Argument::of(Type::list(Type::Int)),
                Argument::of(Type::list(Type::Int))
            ]
        ),
        "aten::add.t"
    );
    assert_eq!(op("aten::max", &[tensor()]), "aten::max");
    assert_eq!(op("aten::max", &[tensor(), int(1)]), "aten::max.dim");
    assert_eq!(op("aten::Int", &[tensor()]), "aten::Int.Tensor");
    assert_eq!(
        op(
            "aten::upsample_nearest2d",
            &[
                tensor(),
                Argument::of(Type::None),
                Argument::literal(Literal::floats(&[2.0, 2.0])),
            ]
        ),
        "aten::upsample_nearest2d.vec"
    );
}

#[test]
fn a_number_stands_for_a_list_of_fixed_length() {
    let resolved = call("aten::max_pool2d", &[tensor(), int(3), int(2)]);
    assert_eq!(
        resolved.operands[1..4],
        [
            Operand::Broadcast(Source::Positional(1), 2),
            Operand::Broadcast(Source::Positional(2), 2),
            Operand::Default(Literal::ints(&[0, 0])),
        ]
    );
    // `int[1]? dim`
    let mean = call("aten::mean", &[tensor(), int(2)]);
    assert_eq!(mean.op.to_string(), "aten::mean.dim");
    assert_eq!(
        mean.operands[1],
        Operand::Broadcast(Source::Positional(1), 1)
    );
}

#[test]
fn trailing_arguments_stand_for_a_list_and_tensors_for_numbers() {
    let resolved = call("aten::view", &[tensor(), int(1), tensor()]);
    assert_eq!(resolved.op.to_string(), "aten::view");
    assert_eq!(
        resolved.operands[1],
        Operand::ListOf(
            vec![
                Operand::Given(Source::Positional(1)),
                Operand::Implicit(Source::Positional(2), Op::of("aten::IntImplicit")),
            ],
            Type::Int
        )
    );
    // One int could be a ScalarType; PyTorch always takes it for a size.
    assert_eq!(
        call("aten::view", &[tensor(), int(1)]).op.to_string(),
        "aten::view"
    );
    let one = call("aten::zeros", &[int(4)]);
    assert!(matches!(&one.operands[0], Operand::ListOf(of, Type::Int) if of.len() == 1));
}

#[test]
fn a_tuple_stands_for_a_list() {
    let pair = Argument::of(Type::tuple([Type::Int, Type::Int]));
    let resolved = call("aten::view", &[tensor(), pair]);
    assert_eq!(
        resolved.operands[1],
        Operand::TupleToList(Source::Positional(1), Type::Int)
    );
    let mixed = Argument::of(Type::tuple([Type::Int, Type::Str]));
    assert!(resolve("aten::view".into(), &[tensor(), mixed], &[]).is_err());
}

#[test]
fn variables_are_bound_from_left_to_right() {
    let list = Argument::of(Type::list(Type::Str));
    let get = call("aten::__getitem__", &[list.clone(), int(0)]);
    assert_eq!(
        (get.op.to_string().as_str(), get.outputs),
        ("aten::__getitem__.t", vec![Type::Str])
    );
    let append = |element: Type| {
        resolve(
            "aten::append".into(),
            &[list.clone(), Argument::of(element)],
            &[],
        )
    };
    assert_eq!(
        append(Type::Str).map(|resolved| resolved.outputs),
        Ok(vec![Type::list(Type::Str)])
    );
    assert!(append(Type::Int).is_err());
    let dict = Argument::of(Type::dict(Type::Str, Type::list(Type::Int)));
    let items = call("aten::items", &[dict]);
    assert_eq!(
        items.outputs,
        [Type::list(Type::tuple([Type::Str, Type::list(Type::Int)]))]
    );
}

#[test]
fn keywords_reach_parameters_by_name() {
    let keywords = [(Sym::new("alpha"), int(2))];
    let resolved = resolve("aten::add".into(), &[tensor(), tensor()], &keywords)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.operands[2], Operand::Given(Source::Keyword(0)));
    let keywords = [(Sym::new("input"), tensor())];
    let resolved =
        resolve("aten::relu".into(), &[], &keywords).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.operands, [Operand::Given(Source::Keyword(0))]);
}

#[test]
fn an_untyped_empty_list_fits_any_list() {
    let resolved = call("aten::view", &[tensor(), Argument::untyped_list()]);
    assert_eq!(resolved.operands[1], Operand::EmptyList(Type::Int));
}

#[test]
fn errors_list_the_candidates_with_the_first_reason() {
    let error = resolve("aten::relu_".into(), &[Argument::of(Type::Str)], &[])
        .expect_err("a string is no tensor");
    assert_eq!(error.candidates.len(), 1);
    assert!(matches!(
        &error.candidates[0].1,
        Mismatch::Type { param, found: Type::Str, .. } if *param == *"self"
    ));
    for (positional, keyword, expected) in [
        (vec![], None, "nothing is given for `self`"),
        (
            vec![tensor(), tensor()],
            None,
            "it takes at most 1 arguments by position, not 2",
        ),
        (
            vec![tensor()],
            Some("selfie"),
            "it has no parameter `selfie`",
        ),
        (vec![tensor()], Some("self"), "`self` is given twice"),
    ] {
        let keywords: Vec<_> = keyword
            .iter()
            .map(|name| (Sym::new(name), tensor()))
            .collect();
        let error = resolve("aten::relu_".into(), &positional, &keywords).expect_err(expected);
        assert_eq!(error.candidates[0].1.to_string(), expected);
    }
    let unknown = resolve("mine::unheard_of".into(), &[], &[]).expect_err("not declared");
    assert_eq!(
        unknown.to_string(),
        "call `mine::unheard_of`: nobody declared it; `Op::register` takes declarations of operators that PyTorch does not have"
    );
}

#[test]
fn printed_nodes_resolve_by_the_types_of_their_inputs() {
    let op = |name: &str, types: &[Type]| {
        Op::resolve_by_types(name.into(), types).map(|op| op.to_string())
    };
    let t = Type::TENSOR;
    assert_eq!(
        op("aten::add", &[t.clone(), t.clone(), Type::Int]).as_deref(),
        Some("aten::add.Tensor")
    );
    assert_eq!(
        op("aten::add", &[t.clone(), Type::Int, Type::Int]).as_deref(),
        Some("aten::add.Scalar")
    );
    assert_eq!(
        op("aten::add", &[Type::Int, Type::Int]).as_deref(),
        Some("aten::add.int")
    );
    assert_eq!(
        op("aten::view", &[t.clone(), Type::Int]).as_deref(),
        Some("aten::view.dtype")
    );
    assert_eq!(
        op("aten::max", &[t.clone(), Type::Int, Type::Bool]).as_deref(),
        Some("aten::max.dim")
    );
    assert_eq!(op("aten::max", &[Type::Str]), None);
    assert_eq!(
        op("aten::format", &[Type::Str, t, Type::Int]).as_deref(),
        Some("aten::format")
    );
}
