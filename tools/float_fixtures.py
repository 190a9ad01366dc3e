#!/usr/bin/env python3
"""Makes src/eval/tests/fixtures/float.safetensors: what PyTorch 2.15 computes for operators on floats.

    tools/float_fixtures.py --out src/eval/tests/fixtures/float.safetensors

Products of matrices, and what is built on them, are MKL's: the file is right if it is made on a processor of Intel's with AVX512.
`--seed` and `--rounds` make other files, to look further than the one that is kept.
"""

import argparse

import torch

import fixture
from fixture import Case, Result, pack, rng, save

arguments = argparse.ArgumentParser(description="Makes what PyTorch computes for operators on floats.")
arguments.add_argument("--out", required=True)
arguments.add_argument("--seed", type=int, default=20)
arguments.add_argument("--rounds", type=int, default=1)
options = arguments.parse_args()
torch.manual_seed(options.seed)
fixture.rng = rng = type(rng)(type(rng.bit_generator)(options.seed))


def pick(*values):
    return values[int(rng.integers(len(values)))]


def size(least, most):
    return int(rng.integers(least, most + 1))


def last(t):
    return t.contiguous(memory_format=torch.channels_last)


def one(op, *args):
    """A case of one call; every run gives it another name."""
    shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
    case = Case(f"{op} {shapes} {[a for a in args if not isinstance(a, torch.Tensor)]}")
    case.expect(case.call(op, *args))


def gelu(x, kind):
    case = Case(f"gelu {tuple(x.shape)} {kind}")
    case.calls.append({"op": "aten::gelu", "args": [pack(x), kind]})
    case.expect(Result(0, torch.ops.aten.gelu(x, approximate=kind)))


ACTIVATIONS = [
    ("aten::silu", ()),
    ("aten::mish", ()),
    ("aten::softplus", (1, 20)),
    ("aten::softplus", (2.5, 20)),
    ("aten::sigmoid", ()),
    ("aten::elu", (1.0, 1.0, 1.0)),
    ("aten::elu", (0.7, 1.3, 0.9)),
    ("aten::celu", (1.3,)),
    ("aten::selu", ()),
    ("aten::hardswish", ()),
    ("aten::hardsigmoid", ()),
    ("aten::leaky_relu", (0.013,)),
    ("aten::hardshrink", (0.3,)),
    ("aten::softshrink", (0.3,)),
]


def activations():
    for op, args in ACTIVATIONS:
        one(op, torch.randn(size(260, 330)) * 5, *args)
        one(op, last(torch.randn(2, size(2, 9), size(3, 7), size(3, 7)) * 3), *args)
        one(op, torch.randn(size(1, 40)) * 3, *args)
    for kind in ("none", "tanh"):
        gelu(torch.randn(size(260, 330)) * 5, kind)
        gelu(last(torch.randn(2, size(2, 9), size(3, 7), size(3, 7)) * 3), kind)
        gelu(torch.randn(size(1, 40)) * 3, kind)
    one("aten::glu", torch.randn(size(2, 5), 2 * size(1, 40)) * 3, 1)
    one("aten::glu", torch.randn(2 * size(1, 4), size(30, 70)) * 3, 0)


def products():
    for _ in range(10):
        rows, columns, depth = size(2, 20), pick(size(2, 6), size(4, 20)), pick(size(1, 20), size(20, 100), size(200, 900))
        a, b, c = torch.randn(rows, depth), torch.randn(depth, columns), torch.randn(columns)
        one("aten::mm", a, b)
        one("aten::addmm", c, a, b)
        rows, columns = size(2, 20), size(4, 20)
        a, w, c = torch.randn(rows, depth), torch.randn(columns, depth), torch.randn(columns)
        one("aten::linear", a, w, c)
        one("aten::linear", a.reshape(1, rows, depth), w, c)
        one("aten::linear", a.reshape(1, rows, depth), w, None)
        batch, rows, columns, depth = size(2, 4), size(1, 12), size(1, 12), size(1, 40)
        one("aten::bmm", torch.randn(batch, rows, depth), torch.randn(batch, depth, columns))
        one("aten::matmul", torch.randn(2, batch, rows, depth), torch.randn(2, batch, depth, columns))
        case = Case("half")
        depth = pick(size(1, 40), size(500, 600))
        w = torch.randn(size(1, 40), depth)
        packed = case.call("quantized::linear_prepack_fp16", w, pick(None, torch.randn(len(w))))
        case.expect(case.call(f"quantized::linear_{pick('', 'relu_')}dynamic_fp16", torch.randn(size(1, 4), depth), packed))


def convolutions():
    for _ in range(30):
        groups = pick(1, 1, 1, 2, 4)
        inputs, outputs = pick(1, 3, 4, 8, 16, 20, 33), pick(2, 4, 6, 8, 17)
        kind = pick("any", "any", "depthwise", "full")
        if kind == "depthwise":
            groups, inputs, outputs = size(2, 12), 1, 1
        elif groups > 1:
            inputs, outputs = pick((4, 4), (3, 5), (16, 16), (2, 2), (8, 8), (8, 16), (32, 8))
        spatial = pick(1, 2, 2, 2, 3)
        kernel = [pick(1, 2, 3, 3, 5) if spatial < 3 else pick(1, 2, 3)] * spatial
        stride, dilation = [pick(1, 1, 2)] * spatial, [pick(1, 1, 2)] * spatial
        padding = [size(0, min(kernel[0] - 1, 2))] * spatial
        sizes = [size(9, 13) if spatial < 3 else size(5, 7) for _ in range(spatial)]
        x, w = torch.randn(pick(1, 2, 2, 3), groups * inputs, *sizes), torch.randn(groups * outputs, inputs, *kernel)
        bias = torch.randn(len(w))
        one(f"aten::conv{spatial}d", x, w, bias, stride, padding, dilation, groups)
        if spatial == 2 and padding[0] < kernel[0] - 1:
            one("aten::conv2d", last(x), w, bias, stride, padding, dilation, groups)
    for _ in range(10):
        spatial, inputs, outputs = pick(1, 2, 2, 3), size(2, 16), size(1, 8)
        stride = pick(1, 1, 2)
        kernel = pick(2, 3) if stride == 1 else 3
        x, w = torch.randn(pick(1, 2), inputs, *[size(4, 6)] * spatial), torch.randn(inputs, outputs, *[kernel] * spatial)
        geometry = [stride] * spatial, [size(0, 1)] * spatial, [0] * spatial, 1, [1] * spatial
        one(f"aten::conv_transpose{spatial}d" + (".input" if spatial > 1 else ""), x, w, torch.randn(outputs), *geometry)


def norms():
    for _ in range(6):
        channels, inner = 2 * size(1, 5), pick(size(2, 40), size(40, 300))
        x, w, b = torch.randn(2, channels, inner) * 2 + 1, torch.randn(channels), torch.randn(channels)
        one("aten::group_norm", x, pick(1, 2, channels), w, b, 1e-5, False)
        one("aten::instance_norm", x, w, b, None, None, True, 0.1, 1e-5, False)
        one("aten::batch_norm", x, w, b, torch.randn(channels), torch.rand(channels) + 0.1, False, 0.1, 1e-5, False)
        one("aten::layer_norm", x, [inner], torch.randn(inner), torch.randn(inner), 1e-5, False)
        one("aten::layer_norm", x, [inner], None, None, 1e-5, False)
    x = last(torch.randn(2, 6, 5, 7))
    one("aten::batch_norm", x, torch.randn(6), None, torch.randn(6), torch.rand(6) + 0.1, False, 0.1, 1e-3, False)


def reductions():
    for _ in range(6):
        shape = size(1, 3), pick(size(1, 20), size(20, 80)), pick(size(1, 20), size(20, 80))
        x = torch.randn(*shape) * 3
        for dim in (1, 2):
            one("aten::softmax.int", x, dim, None)
            one("aten::log_softmax.int", x, dim, None)
            one("aten::sum.dim_IntList", x, [dim], False)
            one("aten::mean.dim", x, [dim], True)
        one("aten::mean", x)
        one("aten::sum", x)
        image = torch.randn(2, size(1, 9), size(2, 9), size(2, 9))
        one("aten::mean.dim", image, [2, 3], False)
        one("aten::mean.dim", last(image), [2, 3], True)
        one("aten::adaptive_avg_pool2d", image, [1, 1])
        one("aten::adaptive_avg_pool2d", last(image), [1, 1])


def windows():
    for _ in range(6):
        image = torch.randn(2, pick(3, 16, 20), size(5, 9), size(5, 9))
        kernel, stride, padding = [pick(2, 3)] * 2, [pick(1, 2)] * 2, [size(0, 1)] * 2
        for x in (image, last(image)):
            one("aten::avg_pool2d", x, kernel, stride, padding, pick(False, True), pick(False, True), None)
            one("aten::adaptive_avg_pool2d", x, [size(2, 4), size(2, 4)])
            one("aten::upsample_bilinear2d", x, [size(3, 14), size(3, 14)], pick(False, True), None, None)
            one("aten::upsample_nearest2d", x, [size(3, 14), size(3, 14)], None, None)
        line = torch.randn(2, 3, size(5, 20))
        one("aten::upsample_linear1d", line, [size(3, 30)], pick(False, True), None)
        one("aten::avg_pool1d", line, [3], [2], [1], False, pick(False, True))


for _ in range(options.rounds):
    activations()
    products()
    convolutions()
    norms()
    reductions()
    windows()
save(options.out)
