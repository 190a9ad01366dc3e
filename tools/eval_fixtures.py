#!/usr/bin/env python3
"""Makes src/eval/tests/fixtures/pytorch.safetensors: what PyTorch 2.15 computes for single quantized operators.

    tools/eval_fixtures.py --out src/eval/tests/fixtures/pytorch.safetensors

Data are made to tie: scales are powers of two, or a few ulp beside one, zero points are odd, biases are whole multiples of the
accumulator's scale or an ulp beside one. The engine is fbgemm, on one thread.
"""

import argparse

import numpy as np
import torch

from fixture import Case, bias, codes, rng, save, ulps, weight

arguments = argparse.ArgumentParser(description="Makes what PyTorch computes for single quantized operators.")
arguments.add_argument("--out", required=True)
options = arguments.parse_args()

torch.backends.quantized.engine = "fbgemm"

SX, SO = 2.0**-5, 2.0**-5


def convolution(name, op, x_shape, w_shape, per_channel, geometry, with_bias=True, relu=False, high=255):
    case = Case(name)
    sx = ulps(SX)
    x = codes(x_shape, sx, 67, high=high, last=len(x_shape) > 3 and bool(rng.integers(2)))
    w = weight(w_shape, per_channel)
    transposed = "transpose" in op
    outputs = w_shape[1] * geometry[-1] if transposed else w_shape[0]
    packed = case.call(f"quantized::{op}_prepack", w, bias(w, sx, outputs) if with_bias else None, *geometry)
    full = f"quantized::{op}" + ("_relu" if relu else "") + (".new" if op in ("conv2d", "conv3d") else "")
    case.expect(case.call(full, x, packed, ulps(SO), 91))


for per_channel in (False, True):
    tag = "per channel" if per_channel else "per tensor"
    convolution(f"conv2d 3x3, {tag}", "conv2d", (1, 6, 9, 8), (12, 6, 3, 3), per_channel, ([1, 1], [1, 1], [1, 1], 1))
    convolution(f"conv2d groups, stride, dilation, {tag}", "conv2d", (2, 8, 11, 9), (12, 4, 3, 2), per_channel, ([2, 1], [2, 1], [2, 1], 2), relu=True)
    convolution(f"conv2d depthwise 3x3, fast, {tag}", "conv2d", (1, 16, 9, 7), (16, 1, 3, 3), per_channel, ([1, 1], [1, 1], [1, 1], 16), high=127)
    convolution(f"conv2d depthwise 5x5, {tag}", "conv2d", (1, 6, 9, 9), (6, 1, 5, 5), per_channel, ([1, 1], [2, 2], [1, 1], 6), high=127)
    convolution(f"conv1d, {tag}", "conv1d", (2, 6, 33), (10, 6, 5), per_channel, ([2], [2], [1], 1), relu=True)
    convolution(f"conv3d, {tag}", "conv3d", (1, 4, 5, 6, 5), (6, 4, 3, 3, 3), per_channel, ([1, 1, 1], [1, 1, 1], [1, 1, 1], 1))
convolution("conv2d without bias", "conv2d", (1, 5, 8, 8), (9, 5, 1, 1), True, ([1, 1], [0, 0], [1, 1], 1), with_bias=False)
convolution("conv_transpose1d without bias", "conv_transpose1d", (1, 6, 9), (6, 8, 3), False, ([2], [1], [1], [1], 1), with_bias=False)

for per_channel in (False, True):
    tag = "per channel" if per_channel else "per tensor"
    case = Case(f"linear, {tag}")
    x, w = codes((3, 5, 40), SX, 67), weight((24, 40), per_channel)
    packed = case.call("quantized::linear_prepack", w, bias(w, SX, 24))
    case.expect(case.call("quantized::linear", x, packed, ulps(SO), 91))
    case = Case(f"linear_relu, {tag}")
    packed = case.call("quantized::linear_prepack", w, bias(w, SX, 24))
    case.expect(case.call("quantized::linear_relu", x, packed, ulps(SO), 91))
    for reduced in (False, True):
        case = Case(f"linear_dynamic, {tag}, reduced {reduced}")
        packed = case.call("quantized::linear_prepack", w, bias(w, SX, 24))
        x_float = torch.from_numpy(rng.normal(size=(7, 40)).astype(np.float32))
        case.expect(case.call("quantized::linear_dynamic", x_float, packed, reduced))

SHAPES = [((n,), False) for n in (1, 63, 64, 65, 130, 200)] + [((2, 5, 3, 7), False), ((2, 5, 3, 7), True)]
for shape, last in SHAPES:
    for op in ("add", "add_relu", "mul", "mul_relu"):
        case = Case(f"{op} {shape} last={last}")
        a = codes(shape, ulps(0.1, 0), 3, last=last)
        b = codes(shape, ulps(0.07, 0), 201, last=last)
        case.expect(case.call(f"quantized::{op}", a, b, ulps(0.05 * 2 if "add" in op else 2.0**-3, 0), 77))
for name, b_shape, last in [("channels", (1, 70, 1, 1), True), ("channels", (1, 70, 1, 1), False), ("scalar", (1,), False)]:
    case = Case(f"add of {name}, last={last}")
    a = codes((2, 70, 3, 5), 0.1, 3, last=last)
    case.expect(case.call("quantized::add", a, codes(b_shape, 0.07, 201), 0.1, 77))
case = Case("add of two layouts")
case.expect(case.call("quantized::add", codes((2, 8, 4, 5), 0.1, 3, last=True), codes((2, 8, 4, 5), 0.07, 201), 0.1, 77))

x = codes((300,), 0.1, 131)
for name, op, args in [
    ("hardswish", "quantized::hardswish", (0.05, 9)),
    ("elu", "quantized::elu", (0.03, 31, 1.1, 1.0, 1.0)),
    ("leaky_relu", "quantized::leaky_relu", (0.3, False, 0.05, 9)),
    ("aten leaky_relu", "aten::leaky_relu", (0.3,)),
    ("sigmoid", "aten::sigmoid", ()),
    ("tanh", "aten::tanh", ()),
    ("hardsigmoid", "aten::hardsigmoid", ()),
    ("relu", "aten::relu", ()),
    ("clamp", "aten::clamp", (-0.55, 6)),
    ("hardtanh", "aten::hardtanh", (0, 6)),
    ("add_scalar", "quantized::add_scalar", (1.23,)),
    ("add_scalar far up", "quantized::add_scalar", (40.0,)),
    ("add_scalar far down", "quantized::add_scalar", (-40.0,)),
    ("add_scalar_relu", "quantized::add_scalar_relu", (-3.0,)),
    ("mul_scalar", "quantized::mul_scalar", (1.7,)),
    ("mul_scalar negative", "quantized::mul_scalar", (-1.7,)),
    ("mul_scalar zero", "quantized::mul_scalar", (0.0,)),
    ("mul_scalar_relu", "quantized::mul_scalar_relu", (-0.3,)),
]:
    case = Case(name)
    case.expect(case.call(op, x, *args))
for op in ("quantized::hardswish", "quantized::elu"):
    case = Case(f"{op} channels last")
    case.expect(case.call(op, codes((1, 5, 6, 7), 0.1, 131, last=True), 0.05, 9))

for last in (False, True):
    x = codes((2, 11, 9, 7), 0.1, 67, last=last)
    for name, op, args in [
        ("max_pool2d", "aten::max_pool2d", ([3, 2], [2, 1], [1, 1], [1, 2], True)),
        ("avg_pool2d", "aten::avg_pool2d", ([2, 2], [2, 2], [0, 0], False, True, None)),
        ("avg_pool2d padded", "aten::avg_pool2d", ([4, 2], [2, 1], [2, 1], True, True, None)),
        ("avg_pool2d without padding", "aten::avg_pool2d", ([4, 2], [2, 1], [2, 1], True, False, None)),
        ("avg_pool2d divisor", "aten::avg_pool2d", ([4, 2], [2, 1], [2, 1], False, True, 4)),
        ("adaptive_avg_pool2d", "aten::adaptive_avg_pool2d", ([4, 2],)),
        ("adaptive_avg_pool2d to one", "aten::adaptive_avg_pool2d", ([1, 1],)),
        ("mean", "aten::mean.dim", ([2, 3],)),
        ("nearest", "aten::upsample_nearest2d", ([13, 20], None, None)),
        ("bilinear", "aten::upsample_bilinear2d", ([13, 20], False, None, None)),
        ("bilinear corners", "aten::upsample_bilinear2d", ([13, 20], True, None, None)),
        ("group_norm", "quantized::group_norm", (11, torch.randn(11), torch.randn(11), 1e-5, 0.03, 91)),
        ("instance_norm", "quantized::instance_norm", (torch.randn(11), torch.randn(11), 1e-5, 0.03, 91)),
        ("layer_norm", "quantized::layer_norm", ([9, 7], torch.randn(9, 7), torch.randn(9, 7), 1e-5, 0.03, 91)),
        ("batch_norm", "quantized::batch_norm", (torch.randn(11), torch.randn(11), torch.randn(11), torch.rand(11) + 0.5, 1e-5, 0.05, 91)),
        ("batch_norm_relu", "quantized::batch_norm_relu", (torch.randn(11), torch.randn(11), torch.randn(11), torch.rand(11) + 0.5, 1e-5, 0.05, 91)),
        ("dequantize", "aten::dequantize.self", ()),
    ]:
        case = Case(f"{name} last={last}")
        case.expect(case.call(op, x, *args))
    for dim in (1, 2):
        case = Case(f"cat dim {dim} last={last}")
        parts = [codes((1, 11, 3, 4), 0.1, 67, last=last), codes((1, 11, 3, 4), 0.07, 201, last=last)]
        case.expect(case.call("quantized::cat", parts, dim, 0.09, 77))
x = codes((2, 6, 40), 0.1, 67)
for name, op, args in [
    ("avg_pool1d", "aten::avg_pool1d", ([4], [2], [1], False, True)),
    ("adaptive_avg_pool1d", "aten::adaptive_avg_pool1d", ([7],)),
    ("mean inner", "aten::mean.dim", ([-1], True)),
    ("mean outer", "aten::mean.dim", ([1],)),
]:
    case = Case(name)
    case.expect(case.call(op, x, *args))
case = Case("avg_pool3d")
case.expect(case.call("aten::avg_pool3d", codes((1, 3, 4, 5, 4), 0.1, 67), [2, 2, 2], [1, 2, 1], [1, 0, 0], False, True, None))

real = torch.from_numpy((rng.integers(-600, 600, 300) / 16).astype(np.float32))
for dtype, zero in ((torch.quint8, 131), (torch.qint8, -3)):
    case = Case(f"quantize_per_tensor {dtype}")
    case.expect(case.call("aten::quantize_per_tensor", real, 0.125, zero, dtype))

save(options.out)
