#!/usr/bin/env python3
"""Makes src/eval/tests/fixtures/breadth.safetensors: what PyTorch 2.15 computes for the rarer operators of quantized modules.

    tools/breadth_fixtures.py --out src/eval/tests/fixtures/breadth.safetensors
"""

import argparse

import torch

from fixture import Case, codes, rng, save, ulps, weight

arguments = argparse.ArgumentParser(description="Makes what PyTorch computes for the rarer operators.")
arguments.add_argument("--out", required=True)
options = arguments.parse_args()


def embeddings():
    indices = torch.from_numpy(rng.integers(0, 20, 17))
    offsets = torch.tensor([0, 3, 3, 9, 17])
    mapping = torch.from_numpy(rng.integers(-1, 20, 20).astype("int32"))
    weights = torch.randn(17)
    for name, columns in (("byte", 13), ("4bit", 14), ("2bit", 20)):
        table = torch.randn(20, columns) * torch.logspace(-3, 3, 20)[:, None]
        table[3], table[4], table[5] = 0.5, 0.0, 1e-9 * torch.randn(columns)
        for searched in (False, True)[: 1 if name == "byte" else 2]:
            how = () if name == "byte" else (searched, 60, 0.25)
            case = Case(f"embedding {name}: packed, searched {searched}")
            case.expect(case.call(f"quantized::embedding_bag_{name}_prepack", table, *how))
            case = Case(f"embedding {name}: unpacked, searched {searched}")
            packed = case.call(f"quantized::embedding_bag_{name}_prepack", table, *how)
            case.expect(case.call(f"quantized::embedding_bag_{name}_unpack", packed))
        case = Case(f"embedding {name}: packed with ranges")
        ranges = torch.stack([table.amin(1) - 0.01, table.amax(1) + 0.02], 1)
        case.expect(case.call(f"quantized::embedding_bag_{name}_prepack_with_rowwise_min_max", table, ranges))
        for tag, i, rest in [
            ("plain", indices, (offsets, False, 0, False, None, None, True)),
            ("open end", indices, (offsets[:-1], False, 0, False, weights, None, False)),
            ("pruned", indices, (offsets, False, 0, True, weights, mapping, True)),
            ("matrix", indices[:16].reshape(4, 4), (None, False, 0, False, None, None, False)),
        ]:
            case = Case(f"embedding {name}: bag, {tag}")
            packed = case.call(f"quantized::embedding_bag_{name}_prepack", table)
            case.expect(case.call(f"quantized::embedding_bag_{name}_rowwise_offsets", packed, i, *rest))
    for name, dtype in (("byte", torch.quint8), ("4bit", torch.quint4x2)):
        table, scales, zeros = torch.randn(20, 14), torch.rand(20) * 0.2, torch.rand(20) * 15
        case = Case(f"embedding {name}: rows of a packed weight")
        packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, dtype))
        case.expect(case.call(f"quantized::embedding_{name}", packed, indices[:16].reshape(2, 8)))
        case = Case(f"embedding {name}: bags of a packed weight")
        packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, dtype))
        case.expect(case.call(f"quantized::embedding_bag_{name}", packed, indices, offsets, False, 0, True, weights, mapping, True))
    case = Case("embedding byte: unpacked weight")
    packed = case.call("quantized::embedding_bag_prepack", case.call("aten::quantize_per_channel", table, scales, zeros, 0, torch.quint8))
    case.expect(case.call("aten::dequantize.self", case.call("quantized::embedding_bag_unpack", packed)))


def fused():
    x, w = codes((40, 24), ulps(2.0**-5), 67, high=127), weight((16, 24), True)
    for op, rest in (("linear_leaky_relu", (2.0**-5, 91, 0.1)), ("linear_tanh", (2.0**-7, 128))):
        case = Case(op, "onednn")
        case.expect(case.call(f"quantized::{op}", x, case.call("quantized::linear_prepack", w, torch.randn(16)), *rest))
    for relu in ("", "_relu"):
        case = Case(f"linear{relu} of floats and back")
        packed = case.call("quantized::linear_prepack", w, torch.randn(16))
        op = f"quantized::linear_with_input_q_dq_qweight_dq{relu}_output_fp32"
        case.expect(case.call(op, torch.randn(9, 24), 0.03, 100, packed))
        case = Case(f"conv2d_add{relu}", "onednn")
        packed = case.call("quantized::conv2d_prepack", weight((8, 4, 3, 3), True), torch.randn(8), [1, 1], [1, 1], [1, 1], 1)
        more = codes((1, 8, 9, 8), ulps(2.0**-5), 133, last=True)
        case.expect(case.call(f"quantized::conv2d_add{relu}", codes((1, 4, 9, 8), ulps(2.0**-5), 67, high=127), more, packed, 2.0**-5, 91))
        case = Case(f"cat_out{relu}")
        out = codes((2, 5, 4), 0.1, 33)
        case.expect(case.call(f"quantized::cat{relu}_out", [codes((2, 3, 4), 0.1, 67), codes((2, 2, 4), 0.07, 201)], 1, out))
    case = Case("matmul of codes")
    case.expect(case.call("quantized::matmul", codes((2, 5, 7), 0.125, 67), codes((2, 7, 4), 0.0625, 91), 0.25, 77))


def recurrent():
    def cell(case, gates, width, size, half):
        if half:
            packed = [case.call("quantized::linear_prepack_fp16", torch.randn(gates * size, n), torch.randn(gates * size)) for n in (width, size)]
            return case.call("quantized::make_quantized_cell_params_fp16", *packed)
        packed = [case.call("quantized::linear_prepack", weight((gates * size, n), True), torch.randn(gates * size)) for n in (width, size)]
        return case.call("quantized::make_quantized_cell_params_dynamic", *packed, torch.randn(gates * size), torch.randn(gates * size), True)

    for name, gates in (("lstm", 4), ("gru", 3), ("rnn_relu", 1), ("rnn_tanh", 1)):
        case = Case(f"{name} cell", near=True)
        packed = [case.call("quantized::linear_prepack", weight((gates * 8, n), False), torch.randn(gates * 8)) for n in (6, 8)]
        state = [torch.randn(3, 8), torch.randn(3, 8)] if name == "lstm" else torch.randn(3, 8)
        result = case.call(f"quantized::quantized_{name}_cell_dynamic", torch.randn(3, 6), state, *packed, torch.randn(gates * 8), torch.randn(gates * 8))
        case.expect(result[1] if name == "lstm" else result)
    for name, gates in (("lstm", 4), ("gru", 3)):
        for both, first, layers, half in ((False, False, 1, False), (True, True, 2, False), (False, True, 1, True)):
            for output in range(3 if name == "lstm" else 2):
                case = Case(f"{name}: both ways {both}, batch first {first}, layers {layers}, half {half}, output {output}", near=True)
                ways = 2 if both else 1
                cells = [cell(case, gates, 6 if layer == 0 else 8 * ways, 8, half) for layer in range(layers) for _ in range(ways)]
                state = torch.randn(layers * ways, 3, 8)
                state = [state, torch.randn(layers * ways, 3, 8)] if name == "lstm" else state
                args = [torch.randn(3, 5, 6) if first else torch.randn(5, 3, 6), state, cells, True, layers, 0.0, False, both, first]
                result = case.call(f"aten::quantized_{name}.input", *args)
                case.expect(result[output])
        for output in range(3 if name == "lstm" else 2):
            case = Case(f"{name}: sequences of several lengths, output {output}", near=True)
            cells = [cell(case, gates, 6, 8, False) for _ in range(2)]
            state = [torch.randn(2, 3, 8), torch.randn(2, 3, 8)] if name == "lstm" else torch.randn(2, 3, 8)
            args = [torch.randn(9, 6), torch.tensor([3, 3, 2, 1]), state, cells, True, 1, 0.0, False, True]
            case.expect(case.call(f"aten::quantized_{name}.data", *args)[output])


def rows(op, *args, near=False):
    case = Case(op, near=near)
    case.expect(case.call(op, *args))


def indexed():
    x = torch.randn(4, 5)
    index = torch.from_numpy(rng.integers(0, 4, (3, 5)))
    source = torch.randn(4, 5)
    for op, rest in [("scatter.src", (source,)), ("scatter.value", (1.5,)), ("scatter.reduce", (source, "multiply")), ("scatter_add", (source,))]:
        rows(f"aten::{op}", x, 0, index, *rest) if op != "scatter.reduce" else None
    for how in ("sum", "prod", "mean", "amax", "amin"):
        for own in (True, False):
            rows("aten::scatter_reduce.two", x, 0, index, source, how, own)
            rows("aten::scatter_reduce.two", torch.arange(20).reshape(4, 5), 0, index, torch.arange(20).flip(0).reshape(4, 5) - 9, how, own)
    line = torch.tensor([2, 0, 2])
    rows("aten::index_add", x, 0, line, source[:3])
    rows("aten::index_copy", x, 0, torch.tensor([2, 0]), source[:2])
    rows("aten::index_fill.int_Scalar", x, 1, torch.tensor([3, 0]), 7.0)
    rows("aten::index_put", x, [line, torch.tensor([1, 1, 1])], torch.tensor([0.1, 0.2, 0.3]), True)
    rows("aten::index_put", x, [line], source[0], True)
    rows("aten::masked_select", x, x > 0)
    rows("aten::masked_scatter", x, x > 0, source)
    rows("aten::nonzero", (x > 0.5).to(torch.float32))
    rows("aten::take", x, torch.tensor([[0, -1], [7, 7]]))
    rows("aten::select_scatter", x, source[0], 0, -2)
    rows("aten::slice_scatter", x, source[:, :2], 1, 1, 5, 2)
    lengths = torch.tensor([5, 3, 1])
    case = Case("packed sequences")
    case.expect(case.call("aten::_pack_padded_sequence", torch.randn(3, 5, 2), lengths, True)[0])
    case = Case("padded sequences")
    packed = case.call("aten::_pack_padded_sequence", torch.randn(3, 5, 2), lengths, True)
    case.expect(case.call("aten::_pad_packed_sequence", packed[0], packed[1], True, -1.5, 7)[0])
    for equation, shapes in [("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]), ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]), ("i,j", [(3,), (4,)])]:
        case = Case(f"einsum {equation}")
        case.expect(case.call("aten::einsum", equation, [torch.randint(-4, 5, shape).float() for shape in shapes]))


def floats():
    x, a, b = torch.randn(40), torch.randn(3, 40), torch.randn(40)
    for args in [("addcmul", x, a, b, 1.3), ("addcdiv", x, a, b, 1.3), ("lerp.Scalar", x, a, 0.3), ("lerp.Tensor", x, a, torch.rand(40))]:
        rows(f"aten::{args[0]}", *args[1:])
    ties = (torch.arange(-600, 600) / 16).reshape(3, 400)
    rows("aten::fake_quantize_per_tensor_affine", ties, 0.125, 3, 0, 255)
    rows("aten::fake_quantize_per_tensor_affine.tensor_qparams", ties, torch.tensor(0.125), torch.tensor(3), -128, 127)
    scales = torch.tensor([0.125, 0.25, 0.5])
    for zeros in (torch.tensor([3, 5, 7], dtype=torch.int32), torch.tensor([3.0, 5.25, 7.0])):
        rows("aten::fake_quantize_per_channel_affine", ties, scales, zeros, 0, 0, 255)
        case = Case("mask of fake_quantize_per_channel_affine")
        case.expect(case.call("aten::fake_quantize_per_channel_affine_cachemask", ties, scales, zeros, 0, 0, 255)[1])
    for dtype in (torch.quint8, torch.qint8):
        for reduced in (False, True):
            rows("aten::quantize_per_tensor_dynamic", x, dtype, reduced)
    for name, gates in (("lstm", 4), ("gru", 3), ("rnn_relu", 1), ("rnn_tanh", 1)):
        weights = [torch.randn(gates * 8, n) for n in (6, 8)] + [torch.randn(gates * 8) for _ in range(2)]
        case = Case(f"float {name} cell", near=True)
        state = [torch.randn(3, 8), torch.randn(3, 8)] if name == "lstm" else torch.randn(3, 8)
        result = case.call(f"aten::{name}_cell", torch.randn(3, 6), state, *weights)
        case.expect(result[1] if name == "lstm" else result)
        case = Case(f"float {name}: sequences of several lengths", near=True)
        state = [torch.randn(2, 3, 8), torch.randn(2, 3, 8)] if name == "lstm" else torch.randn(2, 3, 8)
        args = [torch.randn(9, 6), torch.tensor([3, 3, 2, 1]), state, weights * 2, True, 1, 0.0, False, True]
        case.expect(case.call(f"aten::{name}.data", *args)[0])


def wholes():
    """Losses, and numbers that are searched for, counted, ranked or measured."""
    a, b, p = torch.randn(3, 40), torch.randn(3, 40), torch.rand(3, 40)
    for how in range(3):
        rows("aten::smooth_l1_loss", a, b, how, 0.7)
        rows("aten::huber_loss", a, b, how, 0.7)
        rows("aten::kl_div", a, p, how, near=True)
        classes = torch.from_numpy(rng.integers(0, 40, 3))
        rows("aten::nll_loss_nd", a, classes, p[0], how, -100)
        rows("aten::nll_loss_nd", torch.randn(70, 4), torch.from_numpy(rng.integers(0, 4, 70)), None, how, 2)
    edges = torch.tensor([-1.0, -0.25, 0.5])
    for right in (False, True):
        rows("aten::bucketize.Tensor", a, edges, right, right)
        rows("aten::searchsorted.Tensor", a.sort()[0], b, False, right)
    rows("aten::isin.Tensor_Tensor", torch.arange(9), torch.tensor([3, 7, 11]), False, True)
    rows("aten::bincount", torch.from_numpy(rng.integers(0, 9, 50)), torch.rand(50), 12)
    rows("aten::histc", a, 7, -1, 1)
    rows("aten::histc", a, 7)
    ties = torch.from_numpy(rng.integers(0, 4, (3, 40))).float()
    for output in range(2):
        for op, args in (("mode", (1,)), ("topk", (7, 1, True, True)), ("topk", (7, 1, False, True)), ("topk", (30, 1))):
            case = Case(f"{op} {args}, output {output}")
            case.expect(case.call(f"aten::{op}", ties, *args)[output])
    for how in ("linear", "lower", "higher", "nearest", "midpoint"):
        rows("aten::quantile", a, torch.tensor([0.3, 0.5, 0.77]), 1, False, how, near=how == "linear")
    rows("aten::cdist", a, b, 2.0, None)
    rows("aten::cdist", torch.randn(2, 30, 9), torch.randn(27, 9), 2.0, None, near=True)
    rows("aten::renorm", a, 2, 1, 0.5, near=True)
    for op in ("trapezoid.dx", "cumulative_trapezoid.dx"):
        rows(f"aten::{op}", a, 0.3, 1)
    rows("aten::trapezoid.x", a, torch.rand(40).sort()[0], 1)
    image = torch.randn(2, 3, 9, 8)
    rows("aten::_upsample_bilinear2d_aa", image, [4, 11], False, near=True)
    case = Case("max_unpool2d")
    pooled = case.call("aten::max_pool2d_with_indices", image, [2, 2])
    case.expect(case.call("aten::max_unpool2d", pooled[0], pooled[1], [9, 8]))


def decomposed():
    """Quantization on plain integers, and what is put together from other operators."""
    import torch.ao.quantization.fx._decomposed  # registers the operators

    name = "quantized_decomposed::{}"
    x = torch.randn(3, 5, 4) * 40
    scales, zeros = torch.rand(5) * 0.3 + 0.01, torch.from_numpy(rng.integers(-9, 9, 5))
    for scale, zero in ((0.3, 7), (2.0**-3, -11)):
        case = Case(f"decomposed: quantize per tensor, {scale}")
        case.expect(case.call(name.format("quantize_per_tensor"), x, scale, zero, -128, 127, torch.int8))
        case = Case(f"decomposed: dequantize per tensor, {scale}")
        q = torch.from_numpy(rng.integers(-128, 128, (4, 9)).astype("int8"))
        case.expect(case.call(name.format("dequantize_per_tensor"), q, scale, zero, -128, 127, torch.int8))
    case = Case("decomposed: quantize per tensor, by tensors")
    tensors = torch.tensor(0.3, dtype=torch.double), torch.tensor(7)
    case.expect(case.call(name.format("quantize_per_tensor.tensor"), x, *tensors, -128, 127, torch.int8))
    for dtype in (torch.float, torch.double):
        case = Case(f"decomposed: quantize per channel, {dtype}")
        case.expect(case.call(name.format("quantize_per_channel"), x, scales.to(dtype), zeros, 1, -128, 127, torch.int8))
        case = Case(f"decomposed: dequantize per channel, {dtype}")
        q = torch.from_numpy(rng.integers(-128, 128, (3, 5, 4)).astype("int8"))
        case.expect(case.call(name.format("dequantize_per_channel"), q, scales.to(dtype), zeros, 1, -128, 127, torch.int8))
    a, batch = torch.randn(6, 7), torch.randn(5, 6, 6)
    for op, args in (
        ("addbmm", (torch.randn(6, 6), batch, batch.flip(0), 0.5, 2.0)),
        ("diagonal_scatter", (a, torch.randn(6), 1, 0, 1)),
        ("fill_diagonal_", (a.clone(), 2.5, False)),
        ("float_power.Tensor_Scalar", (a.abs(), 2)),
        ("ldexp.Tensor", (a, torch.arange(7))),
        ("linalg_matrix_power", (batch, 3)),
        ("linalg_matrix_power", (batch, 6)),
        ("narrow_copy", (a, 1, 2, 3)),
        ("put", (a, torch.tensor([3, -1, 8]), torch.randn(3), False)),
        ("put", (a, torch.tensor([3, -1, 3]), torch.randn(3), True)),
        ("vander", (a[0], 5, False)),
        ("vander", (a[0], None, True)),
    ):
        case = Case(f"{op} {args[1:] if op != 'addbmm' else ''}"[:60], near=op == 'addbmm')
        case.expect(case.call(f"aten::{op}", *args))


embeddings()
floats()
fused()
indexed()
recurrent()
wholes()
decomposed()
save(options.out)
