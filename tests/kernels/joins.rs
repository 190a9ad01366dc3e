//! Concatenations.

use planish::eval::{MemoryFormat, Value};

use crate::bench::Compiled;
use crate::chance::Chance;

/// Three tensors of their own scales along a dimension that the caller names; with an output's scale, and with the first one's.
const TEXT: &str = "graph(%self : __torch__.M, %x : Tensor, %y : Tensor, %z : Tensor, %xs : float, %xz : int, %ys : float, %yz : int, %s : float, %zp : int, %dim : int):
  %quint8 : int = prim::Constant[value=13]()
  %none : NoneType = prim::Constant()
  %a : Tensor = aten::quantize_per_tensor(%x, %xs, %xz, %quint8)
  %b : Tensor = aten::quantize_per_tensor(%y, %ys, %yz, %quint8)
  %c : Tensor = aten::quantize_per_tensor(%z, %s, %zp, %quint8)
  %list : Tensor[] = prim::ListConstruct(%a, %b, %c)
  %joined : Tensor = quantized::cat(%list, %dim, %s, %zp)
  %alike : Tensor = quantized::cat(%list, %dim, %none, %none)
  %pair : Tensor[] = prim::ListConstruct(%joined, %joined)
  %again : Tensor = quantized::cat(%pair, %dim, %ys, %zp)
  %all : (Tensor, Tensor, Tensor) = prim::TupleConstruct(%joined, %alike, %again)
  return (%all)
";

#[test]
fn joins_along_every_dimension_in_every_layout() {
    let compiled = Compiled::whole(TEXT);
    let mut chance = Chance::new(21);
    let (rows, last) = (MemoryFormat::Contiguous, MemoryFormat::ChannelsLast);
    for layouts in [[rows; 3], [last; 3], [last, rows, last], [rows, last, rows]] {
        for dim in -4..4_i64 {
            for channels in [1, 7, 8, 19] {
                let at = dim.rem_euclid(4) as usize;
                let mut shapes = [[2, channels, 3, 2]; 3];
                for (shape, size) in shapes.iter_mut().zip([chance.int(1, 20), 8, 0]) {
                    shape[at] = if size == 0 { chance.int(0, 17) } else { size };
                }
                let scales = [(); 3].map(|()| chance.scale(-6, -1));
                let zeros = [(); 3].map(|()| chance.zero_point());
                let tensor = |chance: &mut Chance, at: usize| -> Value {
                    chance
                        .reals(&shapes[at], layouts[at], scales[at], zeros[at])
                        .into()
                };
                let args = [
                    tensor(&mut chance, 0),
                    tensor(&mut chance, 1),
                    tensor(&mut chance, 2),
                    scales[0].into(),
                    zeros[0].into(),
                    scales[1].into(),
                    zeros[1].into(),
                    scales[2].into(),
                    zeros[2].into(),
                    dim.into(),
                ];
                let what = format!("{shapes:?} {layouts:?} dim {dim} {scales:?} {zeros:?}");
                let stats = compiled.compare(&what, &args);
                let joins = stats.not_taken.iter().filter(|one| one.op.contains("cat"));
                assert_eq!(joins.count(), 0, "{what}: {:?}", stats.not_taken);
            }
        }
    }
}

/// The channels behind the last whole block of eight take another formula.
#[test]
fn channels_in_blocks_and_behind_them() {
    let compiled = Compiled::whole(TEXT);
    let mut chance = Chance::new(23);
    for round in 0..60 {
        let (xs, xz, s) = chance.telling_scales();
        let (ys, yz) = (chance.scale(-6, -1), chance.zero_point());
        let zp = chance.int(60, 190);
        let tensor = |chance: &mut Chance, scale: f64, zero: i64| -> Value {
            let shape = [2, chance.int(1, 30), 3, 5];
            chance
                .reals(&shape, MemoryFormat::ChannelsLast, scale, zero)
                .into()
        };
        let args = [
            tensor(&mut chance, xs, xz),
            tensor(&mut chance, ys, yz),
            tensor(&mut chance, s, zp),
            xs.into(),
            xz.into(),
            ys.into(),
            yz.into(),
            s.into(),
            zp.into(),
            1.into(),
        ];
        let what = format!("round {round}: {xs:e} {xz} {ys:e} {yz} {s:e} {zp}");
        compiled.compare_all_taken(&what, &args);
    }
}

#[test]
fn rows_are_joined() {
    let compiled = Compiled::whole(TEXT);
    let mut chance = Chance::new(22);
    for shape in [&[5][..], &[3, 70], &[2, 3, 4]] {
        for dim in 0..shape.len() as i64 {
            let (s, z) = (chance.scale(-6, -1), chance.zero_point());
            let mut x = || -> Value {
                chance
                    .reals(shape, MemoryFormat::Contiguous, 0.03125, 7)
                    .into()
            };
            let args = [
                x(),
                x(),
                x(),
                0.03125.into(),
                7.into(),
                0.0625.into(),
                1.into(),
                s.into(),
                z.into(),
                dim.into(),
            ];
            compiled.compare_all_taken(&format!("{shape:?} dim {dim} {s:e} {z}"), &args);
        }
    }
}
