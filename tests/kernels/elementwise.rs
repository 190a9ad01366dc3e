//! Operators that compute element by element.

use std::fmt::Write as _;

use planish::eval::{MemoryFormat, Tensor, Value};
use planish::ir::DType;

use crate::bench::Compiled;
use crate::chance::{Chance, beside};

/// Shapes with whole blocks of 64 elements, with none, and with rests of all kinds.
const LENGTHS: [i64; 12] = [1, 2, 31, 63, 64, 65, 127, 128, 130, 192, 255, 517];

const LAYOUTS: [MemoryFormat; 2] = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast];

/// Sums and products; `{x}` and `{y}` are what is done to the operands beforehand.
fn binary(x: &str, y: &str) -> String {
    format!(
        "graph(%self : __torch__.M, %x : Tensor, %y : Tensor, %xs : float, %xz : int, %ys : float, %yz : int, %s : float, %z : int):
  %quint8 : int = prim::Constant[value=13]()
  %zero : int = prim::Constant[value=0]()
  %one : int = prim::Constant[value=1]()
  %seventy : int = prim::Constant[value=70]()
  %a0 : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)
  %b0 : Tensor = aten::quantize_per_tensor(%y, %ys, %yz, %quint8)
  %a : Tensor = {x}
  %b : Tensor = {y}
  %sum : Tensor = quantized::add(%a, %b, %s, %z)
  %sum_relu : Tensor = quantized::add_relu(%a, %b, %s, %z)
  %product : Tensor = quantized::mul(%a, %b, %s, %z)
  %product_relu : Tensor = quantized::mul_relu(%a, %b, %s, %z)
  %twice : Tensor = quantized::add(%a, %a, %s, %z)
  %square : Tensor = quantized::mul(%b, %b, %s, %z)
  %all : (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) = prim::TupleConstruct(%sum, %sum_relu, %product, %product_relu, %twice, %square)
  return (%all)
"
    )
}

fn operands(
    chance: &mut Chance,
    shape: &[i64],
    layouts: [MemoryFormat; 2],
) -> (String, [Value; 8]) {
    let (xs, ys) = (chance.scale(-6, -1), chance.scale(-6, -1));
    let s = chance.scale(-5, 0);
    let (xz, yz, z) = (
        chance.zero_point(),
        chance.zero_point(),
        chance.zero_point(),
    );
    let x = chance.reals(shape, layouts[0], xs, xz);
    let y = chance.reals(shape, layouts[1], ys, yz);
    let what = format!("{shape:?} {layouts:?} {xs:e} {xz} {ys:e} {yz} {s:e} {z}");
    let args = [
        x.into(),
        y.into(),
        xs.into(),
        xz.into(),
        ys.into(),
        yz.into(),
        s.into(),
        z.into(),
    ];
    (what, args)
}

#[test]
fn sums_and_products() {
    let mut chance = Chance::new(11);
    let compiled = Compiled::whole(&binary("aten::alias(%a0)", "aten::alias(%b0)"));
    for length in LENGTHS {
        for _ in 0..4 {
            let (what, args) = operands(&mut chance, &[length], [MemoryFormat::Contiguous; 2]);
            compiled.compare_all_taken(&what, &args);
        }
    }
    for shape in [
        [2, 5, 3, 7],
        [1, 16, 5, 5],
        [3, 1, 4, 6],
        [2, 70, 1, 1],
        [1, 3, 1, 9],
    ] {
        for x in LAYOUTS {
            for y in LAYOUTS {
                let (what, args) = operands(&mut chance, &shape, [x, y]);
                let stats = compiled.compare(&what, &args);
                let alike = x == y || shape[1] == 1 || shape[2] * shape[3] == 1;
                let mut told = stats.not_taken.iter();
                assert!(told.all(|one| one.node.starts_with('%')), "{what}");
                // The sums of operands of different layouts, and nothing else, are the evaluator's.
                let expected = if alike { 0 } else { 2 };
                assert_eq!(
                    stats.not_taken.len(),
                    expected,
                    "{what}: {:?}",
                    stats.not_taken
                );
            }
        }
    }
}

#[test]
fn sums_and_products_of_views() {
    let mut chance = Chance::new(12);
    for (x, y, shape) in [
        ("aten::t(%a0)", "aten::alias(%b0)", [66, 66]),
        ("aten::t(%a0)", "aten::t(%b0)", [30, 11]),
        (
            "aten::slice(%a0, %zero, %zero, %one, %one)",
            "aten::alias(%b0)",
            [5, 65],
        ),
    ] {
        let compiled = Compiled::whole(&binary(x, y));
        for _ in 0..3 {
            let (what, args) = operands(&mut chance, &shape, [MemoryFormat::Contiguous; 2]);
            compiled.compare(&format!("{x} {y} {what}"), &args);
        }
    }
    let both = "aten::slice(%a0, %one, %zero, %seventy, %one)";
    let compiled = Compiled::whole(&binary(both, &both.replace("%a0", "%b0")));
    for shape in [&[3, 140][..], &[2, 80, 3, 2]] {
        for layout in LAYOUTS {
            let (what, args) = operands(&mut chance, shape, [layout; 2]);
            compiled.compare(&format!("{both} {what}"), &args);
        }
    }
}

/// Every operator that is a table of 256 codes.
const FUNCTIONS: [&str; 21] = [
    "aten::relu(%q)",
    "aten::relu6(%q)",
    "aten::clamp(%q, %a, %b)",
    "aten::clamp_min(%q, %a)",
    "aten::clamp_max(%q, %b)",
    "aten::hardtanh(%q, %a, %b)",
    "aten::sigmoid(%q)",
    "aten::tanh(%q)",
    "aten::hardsigmoid(%q)",
    "aten::leaky_relu(%q, %slope)",
    "quantized::hardswish(%q, %s, %z)",
    "quantized::leaky_relu(%q, %slope, %no, %s, %z)",
    "quantized::sigmoid(%q, %s, %z)",
    "quantized::elu(%q, %s, %z, %b, %slope, %one)",
    "quantized::celu(%q, %s, %z, %b)",
    "quantized::clamp(%q, %a, %b)",
    "quantized::threshold(%q, %a, %b)",
    "quantized::add_scalar(%q, %b)",
    "quantized::add_scalar_relu(%q, %a)",
    "quantized::mul_scalar(%q, %a)",
    "quantized::mul_scalar_relu(%q, %slope)",
];

fn functions(view: &str) -> String {
    let mut body = String::new();
    for (at, call) in FUNCTIONS.iter().enumerate() {
        writeln!(body, "  %y{at} : Tensor = {call}").expect("strings grow");
    }
    let results: Vec<String> = (0..FUNCTIONS.len()).map(|at| format!("%y{at}")).collect();
    format!(
        "graph(%self : __torch__.M, %x : Tensor, %xs : float, %xz : int, %s : float, %z : int, %a : float, %b : float, %slope : float):
  %quint8 : int = prim::Constant[value=13]()
  %no : bool = prim::Constant[value=0]()
  %i0 : int = prim::Constant[value=0]()
  %i1 : int = prim::Constant[value=1]()
  %i70 : int = prim::Constant[value=70]()
  %one : float = prim::Constant[value=1.]()
  %q0 : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)
  %q : Tensor = {view}
{body}  %all : ({}) = prim::TupleConstruct({})
  return (%all)
",
        vec!["Tensor"; results.len()].join(", "),
        results.join(", ")
    )
}

fn argument(chance: &mut Chance, shape: &[i64], layout: MemoryFormat) -> (String, [Value; 8]) {
    let (xs, xz, s) = chance.telling_scales();
    let z = chance.zero_point();
    let (a, b) = (
        -f64::from(chance.unit()) * 2.0,
        f64::from(chance.unit()) * 3.0,
    );
    let slope = chance.scale(-4, -1);
    let x = chance.reals(shape, layout, xs, xz);
    let what = format!("{shape:?} {layout:?} {xs:e} {xz} {s:e} {z} {a:e} {b:e} {slope:e}");
    let args = [
        x.into(),
        xs.into(),
        xz.into(),
        s.into(),
        z.into(),
        a.into(),
        b.into(),
        slope.into(),
    ];
    (what, args)
}

#[test]
fn functions_of_one_code() {
    let mut chance = Chance::new(13);
    let compiled = Compiled::whole(&functions("aten::alias(%q0)"));
    for length in LENGTHS {
        for _ in 0..3 {
            let (what, args) = argument(&mut chance, &[length], MemoryFormat::Contiguous);
            compiled.compare_all_taken(&what, &args);
        }
    }
    for shape in [[2, 5, 3, 7], [3, 1, 4, 6], [2, 70, 1, 1], [2, 64, 2, 2]] {
        for layout in LAYOUTS {
            let (what, args) = argument(&mut chance, &shape, layout);
            compiled.compare(&what, &args);
        }
    }
}

#[test]
fn functions_of_views() {
    let mut chance = Chance::new(14);
    for view in [
        "aten::slice(%q0, %i1, %i0, %i70, %i1)",
        "aten::transpose(%q0, %i0, %i1)",
    ] {
        let compiled = Compiled::whole(&functions(view));
        for shape in [&[3, 140][..], &[66, 66], &[2, 80, 3, 2]] {
            for layout in LAYOUTS {
                let (what, args) = argument(&mut chance, shape, layout);
                compiled.compare(&format!("{view} {what}"), &args);
            }
        }
    }
}

#[test]
fn codes_of_real_numbers_and_back() {
    let text = "graph(%self : __torch__.M, %x : Tensor, %us : float, %uz : int, %ss : float, %sz : int):
  %quint8 : int = prim::Constant[value=13]()
  %qint8 : int = prim::Constant[value=12]()
  %u : Tensor = aten::quantize_per_tensor(%x, %us, %uz, %quint8)
  %s : Tensor = aten::quantize_per_tensor(%x, %ss, %sz, %qint8)
  %uf : Tensor = aten::dequantize(%u)
  %sf : Tensor = aten::dequantize(%s)
  %i0 : int = prim::Constant[value=0]()
  %i1 : int = prim::Constant[value=1]()
  %ut : Tensor = aten::transpose(%u, %i0, %i1)
  %utf : Tensor = aten::dequantize(%ut)
  %xt : Tensor = aten::transpose(%x, %i0, %i1)
  %ux : Tensor = aten::quantize_per_tensor(%xt, %us, %uz, %quint8)
  %all : (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor) = prim::TupleConstruct(%u, %s, %uf, %sf, %utf, %ux)
  return (%all)
";
    let compiled = Compiled::whole(text);
    let mut chance = Chance::new(15);
    for shape in [
        &[1, 1][..],
        &[3, 21],
        &[64, 2],
        &[2, 5, 3, 7],
        &[1, 3, 1, 33],
    ] {
        for layout in LAYOUTS {
            let (us, ss) = (chance.scale(-6, 2), chance.scale(-6, 2));
            let (uz, sz) = (chance.zero_point(), chance.zero_point() - 128);
            let numel: i64 = shape.iter().product();
            let values: Vec<f32> = (0..numel).map(|_| real(&mut chance, us as f32)).collect();
            let x = Tensor::from_slice(DType::Float, shape, &layout.strides(shape), &values);
            let x = x.expect("the values fill the shape");
            let what = format!("{shape:?} {layout:?} {us:e} {uz} {ss:e} {sz}");
            let args = [x.into(), us.into(), uz.into(), ss.into(), sz.into()];
            compiled.compare_all_taken(&what, &args);
        }
    }
}

/// Numbers near the middle between two codes, far outside of all codes, and none.
fn real(chance: &mut Chance, scale: f32) -> f32 {
    let half = (chance.int(-300, 300) as f32 + 0.5) * scale;
    match chance.int(0, 19) {
        0 => f32::NAN,
        1 => chance.one_of(&[f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0]),
        2 => chance.one_of(&[f32::MIN_POSITIVE, 1e-42, 3e9, -3e9]),
        3..=12 => beside(half, chance.int(-2, 2)),
        _ => (chance.unit() - 0.5) * 400.0 * scale,
    }
}
