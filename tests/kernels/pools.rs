//! Pools over images.

use planish::eval::{MemoryFormat, Value};

use crate::bench::Compiled;
use crate::chance::Chance;

const LAYOUTS: [MemoryFormat; 2] = [MemoryFormat::Contiguous, MemoryFormat::ChannelsLast];

/// A pool of a window of `kernel` that moves by `stride`, with `padding`; `ceil` is an input.
fn text([kernel, stride, padding]: [[i64; 2]; 3]) -> String {
    format!(
        "graph(%self : __torch__.M, %x : Tensor, %s : float, %z : int, %ceil : bool):
  %quint8 : int = prim::Constant[value=13]()
  %kernel : int[] = prim::Constant[value={kernel:?}]()
  %stride : int[] = prim::Constant[value={stride:?}]()
  %padding : int[] = prim::Constant[value={padding:?}]()
  %dilation : int[] = prim::Constant[value=[1, 1]]()
  %yes : bool = prim::Constant[value=1]()
  %no : bool = prim::Constant[value=0]()
  %none : NoneType = prim::Constant()
  %seven : int = prim::Constant[value=7]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
  %max : Tensor = aten::max_pool2d(%q, %kernel, %stride, %padding, %dilation, %ceil)
  %quantized : Tensor = quantized::max_pool2d(%q, %kernel, %stride, %padding, %dilation, %ceil)
  %padded : Tensor = aten::avg_pool2d(%q, %kernel, %stride, %padding, %ceil, %yes, %none)
  %inside : Tensor = aten::avg_pool2d(%q, %kernel, %stride, %padding, %ceil, %no, %none)
  %fixed : Tensor = aten::avg_pool2d(%q, %kernel, %stride, %padding, %ceil, %no, %seven)
  %all : (Tensor, Tensor, Tensor, Tensor, Tensor) = prim::TupleConstruct(%max, %quantized, %padded, %inside, %fixed)
  return (%all)
"
    )
}

#[test]
fn windows_of_fixed_size() {
    let mut chance = Chance::new(31);
    for window in [
        [[2, 2], [2, 2], [0, 0]],
        [[3, 3], [2, 2], [1, 1]],
        [[3, 2], [1, 3], [1, 0]],
        [[1, 1], [1, 1], [0, 0]],
        [[5, 5], [3, 3], [2, 2]],
    ] {
        let compiled = Compiled::whole(&text(window));
        for channels in [1, 3, 16, 35, 64] {
            for layout in LAYOUTS {
                for ceil in [false, true] {
                    let shape = [
                        chance.int(1, 3),
                        channels,
                        chance.int(5, 9),
                        chance.int(5, 9),
                    ];
                    let (s, z) = (chance.scale(-6, -1), chance.zero_point());
                    let x = chance.reals(&shape, layout, s, z);
                    let what = format!("{window:?} {shape:?} {layout:?} ceil {ceil} z {z}");
                    let args: [Value; 4] = [x.into(), s.into(), z.into(), ceil.into()];
                    let stats = compiled.compare(&what, &args);
                    // Means over rows round in another way unless the zero point is 0.
                    let by_kernel = layout == MemoryFormat::ChannelsLast || z == 0;
                    assert_eq!(stats.not_taken.is_empty(), by_kernel, "{what}");
                }
            }
        }
    }
}

#[test]
fn dilated_windows() {
    let text = "graph(%self : __torch__.M, %x : Tensor, %s : float, %z : int):
  %quint8 : int = prim::Constant[value=13]()
  %kernel : int[] = prim::Constant[value=[2, 3]]()
  %stride : int[] = prim::Constant[value=[]]()
  %padding : int[] = prim::Constant[value=[1, 1]]()
  %dilation : int[] = prim::Constant[value=[3, 2]]()
  %ceil : bool = prim::Constant[value=1]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
  %max : Tensor = aten::max_pool2d(%q, %kernel, %stride, %padding, %dilation, %ceil)
  return (%max)
";
    let compiled = Compiled::whole(text);
    let mut chance = Chance::new(32);
    for layout in LAYOUTS {
        let x = chance.reals(&[2, 18, 8, 11], layout, 0.5, 3);
        compiled.compare_all_taken(&format!("{layout:?}"), &[x.into(), 0.5.into(), 3.into()]);
    }
}

#[test]
fn windows_over_lines() {
    let text = "graph(%self : __torch__.M, %x : Tensor, %s : float, %z : int, %ceil : bool):
  %quint8 : int = prim::Constant[value=13]()
  %kernel : int[] = prim::Constant[value=[3]]()
  %stride : int[] = prim::Constant[value=[2]]()
  %one : int[] = prim::Constant[value=[1]]()
  %i1 : int = prim::Constant[value=1]()
  %i2 : int = prim::Constant[value=2]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
  %max : Tensor = aten::max_pool1d(%q, %kernel, %stride, %one, %one, %ceil)
  %turned : Tensor = aten::transpose(%q, %i1, %i2)
  %of_turned : Tensor = quantized::max_pool1d(%turned, %kernel, %stride, %one, %one, %ceil)
  %all : (Tensor, Tensor) = prim::TupleConstruct(%max, %of_turned)
  return (%all)
";
    let compiled = Compiled::whole(text);
    let mut chance = Chance::new(34);
    for ceil in [false, true] {
        for length in [3, 4, 64, 71] {
            let shape = [2, chance.int(3, 20), length];
            let x = chance.reals(&shape, MemoryFormat::Contiguous, 0.5, 3);
            let args = [x.into(), 0.5.into(), 3.into(), ceil.into()];
            compiled.compare_all_taken(&format!("{shape:?} ceil {ceil}"), &args);
        }
    }
}

/// What stands for the value of a branch that only raises does not hide what the other branch gives.
#[test]
fn branches_that_raise_do_not_hide_codes() {
    let text = "graph(%self : __torch__.M, %x : Tensor, %s : float, %z : int):
  %quint8 : int = prim::Constant[value=13]()
  %four : int = prim::Constant[value=4]()
  %why : str = prim::Constant[value=\"not a batch of images\"]()
  %none : NoneType = prim::Constant()
  %kernel : int[] = prim::Constant[value=[2, 2]]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
  %never : Tensor = prim::Uninitialized()
  %rank : int = aten::dim(%q)
  %is : bool = aten::eq(%rank, %four)
  %y : Tensor = prim::If(%is)
    block0():
      %r : Tensor = aten::relu(%q)
      -> (%r)
    block1():
       = prim::RaiseException(%why, %none)
      -> (%never)
  %f : Tensor = aten::dequantize(%y)
  return (%f)
";
    let compiled = Compiled::whole(text);
    let x = Chance::new(35).reals(&[2, 3, 4, 5], MemoryFormat::Contiguous, 0.5, 100);
    compiled.compare_all_taken("images", &[x.into(), 0.5.into(), 100.into()]);
    let x = Chance::new(36).reals(&[3, 4, 5], MemoryFormat::Contiguous, 0.5, 100);
    for message in compiled.refusals(&[x.into(), 0.5.into(), 100.into()]) {
        assert!(message.contains("not a batch of images"), "{message}");
    }
}

#[test]
fn windows_that_cover_the_image() {
    let text = "graph(%self : __torch__.M, %x : Tensor, %s : float, %z : int, %h : int?, %w : int):
  %quint8 : int = prim::Constant[value=13]()
  %q : Tensor = aten::quantize_per_tensor(%x, %s, %z, %quint8)
  %size : int?[] = prim::ListConstruct(%h, %w)
  %mean : Tensor = aten::adaptive_avg_pool2d(%q, %size)
  return (%mean)
";
    let compiled = Compiled::whole(
        &text
            .replace("%h : int?", "%h : int")
            .replace("int?[]", "int[]"),
    );
    let mut chance = Chance::new(33);
    for channels in [1, 5, 16, 70] {
        for layout in LAYOUTS {
            for (out, even) in [
                ([1, 1], true),
                ([2, 3], true),
                ([6, 6], true),
                ([4, 5], false),
            ] {
                let shape = [chance.int(1, 3), channels, 6, 6];
                let (s, z) = (chance.scale(-6, -1), chance.zero_point());
                let x = chance.reals(&shape, layout, s, z);
                let args: [Value; 5] = [x.into(), s.into(), z.into(), out[0].into(), out[1].into()];
                let what = format!("{shape:?} {layout:?} to {out:?} z {z}");
                let stats = compiled.compare(&what, &args);
                let by_kernel = even && layout == MemoryFormat::ChannelsLast;
                assert_eq!(stats.not_taken.is_empty(), by_kernel, "{what}");
            }
        }
    }
}
