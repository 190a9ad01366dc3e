//! Operators that the user declares: code that calls them is imported by their schema.

use crate::archive::of_code;
use planish_import::read;
use planish_ir::{Literal, Op, Type};
use planish_passes::{FINALIZE, Fuel, NoKernels, Options, PassCx, Pipeline, Remarks};

const CODE: &str = "class M(Module):
  def forward(self: __torch__.M, x: Tensor, n: int) -> Tensor:
    y = ops.import_test.scale(x, n)
    z = ops.import_test.scale(y, 0.5, kernel=[1, 2])
    a, b, = ops.import_test.halves(z)
    ops.import_test.note(a)
    return torch.add(a, b)
";

#[test]
fn declared_operators_are_called_by_their_schema() {
    let error = read(of_code("3", CODE), "m.pt").unwrap_err().to_string();
    let place = "read code at code/__torch__.py:3:9: call `import_test::scale`";
    assert!(error.starts_with(place), "{error}");
    assert!(error.contains("Op::register"), "{error}");

    // In the order in which PyTorch would try them.
    let scalar = "import_test::scale.Scalar(Tensor x, float by, *, int[2] kernel=1) -> Tensor";
    let tensor = "import_test::scale.Tensor(Tensor x, Tensor by) -> Tensor";
    let halves = "import_test::halves(Tensor(a) x) -> (Tensor(a), Tensor(a))";
    let note = "import_test::note(Tensor x) -> ()";
    for declaration in [tensor, scalar, halves, note] {
        Op::register(declaration).unwrap();
    }
    let refused = read(of_code("3", CODE), "m.pt").unwrap_err().to_string();
    assert!(
        refused.contains("`by` must be float, not int"),
        "an int is no float: {refused}"
    );
    let code = CODE.replace("(x, n)", "(x, float(n))");
    let mut model = read(of_code("3", &code), "m.pt").unwrap();
    planish_ir::verify(&model).unwrap();

    let graph = &model.method(model.root_method("forward").unwrap()).graph;
    let ours: Vec<_> = graph.walk().collect();
    let ours = ours.iter().map(|node| graph.node(*node));
    let ours: Vec<_> = ours
        .filter(|n| n.op().name().as_str().starts_with("import_test"))
        .collect();
    let names: Vec<String> = ours.iter().map(|node| node.op().to_string()).collect();
    assert_eq!(
        names,
        [
            "import_test::scale.Scalar",
            "import_test::scale.Scalar",
            "import_test::halves",
            "import_test::note"
        ]
    );
    // The default is filled in, and an int stands for a list of two.
    let kernel = ours[0].inputs()[2];
    assert_eq!(graph.constant(kernel), Some(&Literal::ints(&[1, 1])));
    assert_eq!(graph.ty(ours[2].outputs()[1]), &Type::TENSOR);

    // Finalize leaves them where they are: what returns nothing is there for its effect.
    let mut cx = PassCx {
        remarks: &mut Remarks::default(),
        kernels: &mut NoKernels,
        fuel: &mut Fuel::unlimited(),
        options: &Options::default(),
        observer: None,
    };
    let passes = Pipeline::new(FINALIZE).verify_each();
    passes.run(&mut model, &mut cx, &mut ()).unwrap();
    let graph = &model.method(model.root_method("forward").unwrap()).graph;
    let left = graph.walk().map(|node| graph.node(node).op());
    let left = left.filter(|op| op.name().as_str().starts_with("import_test"));
    assert_eq!(left.count(), 4);
}
