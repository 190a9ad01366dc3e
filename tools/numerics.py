#!/usr/bin/env python3
"""Compares the formulas of docs/numerics.md with PyTorch's quantized operators, code by code.

Every check computes an operator twice on data made to tie: by PyTorch (engine fbgemm, one thread) and
by the formula, written out in numpy. One line is printed per check: values compared, values that
differ. A change of PyTorch, or a machine that computes otherwise, shows as a number in the last column.

    tools/numerics.py                    # all checks
    tools/numerics.py --only conv pool --rounds 500
"""

import argparse
import sys

import numpy as np
import torch
import torch.nn.functional as F

import reference

f32, f64 = np.float32, np.float64
ops = torch.ops.quantized
rng = np.random.default_rng(0)
CHECKS = {}


def check(function):
    """Registers a generator of (PyTorch's values, the formula's values) pairs; one pair a round or more."""
    CHECKS[function.__name__] = function
    return function


def main():
    """Runs the chosen checks; exit status 1 if any value differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], metavar="WORD", help="checks whose name contains a word")
    parser.add_argument("--rounds", type=int, default=200, help="random settings per check")
    args = parser.parse_args()
    reference.use_engine()
    np.seterr(over="ignore", divide="ignore")  # exp of far codes, qparams of an empty range
    failed = False
    for name, function in CHECKS.items():
        if not any(word in name for word in args.only):
            continue
        values = differ = 0
        for _ in range(args.rounds):
            for got, want in function():
                values += got.size
                differ += int((got != want).sum())
        failed |= differ > 0
        print(f"{name:28} {values:>10} values  {differ:>6} differ", flush=True)
    sys.exit(failed)


# Arithmetic.


def fma(a, b, c):
    """a * b + c with one rounding to f32: exact product in f64, sum rounded to odd, then to f32."""
    a, b, c = np.broadcast_arrays(np.asarray(a, f64), np.asarray(b, f64), np.asarray(c, f64))
    product = a * b
    total = np.ascontiguousarray(product + c)
    back = total - product
    error = (product - (total - back)) + (c - back)
    even = (total.view(np.int64) & 1) == 0
    total = np.where(even & (error > 0), np.nextafter(total, np.inf), total)
    return np.where(even & (error < 0), np.nextafter(total, -np.inf), total).astype(f32)


def codes(values, lo=0):
    """Clamped quint8 codes."""
    return np.clip(values, lo, 255).astype(np.uint8)


def quantize(x, s, z, lo=0):
    """The quantize step Q."""
    return codes(np.rint((x * (f32(1) / f32(s))).astype(f32)) + z, lo)


def plain(q, s, z):
    """The dequantize of scalar code."""
    return (q.astype(f32) - f32(z)) * f32(s)


def fused(q, s, z):
    """The dequantize of vector code."""
    return fma(f32(s), q.astype(f32), f32(s) * f32(-z))


def in_blocks(q, s, z, block, run):
    """Dequantizes memory order: in every run the whole blocks fused, the rest plain."""
    flat = q.reshape(-1, run)
    whole = run // block * block
    return np.concatenate([fused(flat[:, :whole], s, z), plain(flat[:, whole:], s, z)], 1).reshape(q.shape)


# Data.


def near(value, reach=3):
    """A value or a neighbour a few ulp away: multipliers near a power of two make ties."""
    value = f32(value)
    for _ in range(int(rng.integers(0, reach))):
        value = np.nextafter(value, f32(rng.choice([-1, 1]) * np.inf))
    return value


def scale():
    """A scale that ties with others of its kind."""
    return near(2.0 ** rng.integers(-6, -1) * rng.choice([1, 1, 3, 0.7]))


def zero(hi=256):
    """A zero point."""
    return int(rng.integers(0, hi))


def some(shape, z=None):
    """Random codes; a third of them close to the zero point, where sums cancel."""
    if z is not None and rng.integers(3) == 0:
        return codes(rng.integers(0, 4, shape) + z - 2)
    return rng.integers(0, 256, shape).astype(np.uint8)


def tensor(q, s, z, channels_last=False):
    """A quantized tensor of given codes."""
    t = torch._make_per_tensor_quantized_tensor(torch.from_numpy(np.ascontiguousarray(q)), float(s), int(z))
    return t.contiguous(memory_format=torch.channels_last) if channels_last else t


def of(t):
    """The codes of a quantized tensor, in logical order."""
    return t.int_repr().numpy()


def nhwc(array):
    """Memory order of a channels_last tensor."""
    return np.transpose(array, (0, 2, 3, 1))


# Quantize, linear, convolution.


@check
def quantize_per_tensor():
    s, z = scale(), zero()
    x = (rng.integers(-600, 600, 77) / 2 * f64(s)).astype(f32)
    yield of(torch.quantize_per_tensor(torch.from_numpy(x), float(s), z, torch.quint8)), quantize(x, s, z)


def choose(lo, hi, top):
    """_choose_qparams_per_tensor."""
    small = f32(6.1e-5)
    lo, hi = min(f32(lo), f32(0)), max(f32(hi), f32(0))
    s = (float(hi) - float(lo)) / top
    if f32(s) == 0 or np.isinf(f32(1) / f32(s)):
        s = 0.1
    if s < float(small):
        factor, s = small / f32(s), float(small)
        if lo == 0:
            hi = small * f32(top)
        elif hi == 0:
            lo = -small * f32(top)
        else:
            lo, hi = lo * factor, hi * factor
    low, high = float(lo) / s, float(hi) / s
    z = -low if -abs(low) < top - abs(high) else top - high
    return s, int(np.rint(np.clip(z, 0, top)))


@check
def choose_qparams():
    x = (rng.standard_normal(5) * 2.0 ** rng.integers(-24, 8)).astype(f32)
    x = [x, abs(x), -abs(x), x * 0][rng.integers(4)]
    for reduce_range in (False, True):
        got = torch._choose_qparams_per_tensor(torch.from_numpy(x), reduce_range)
        yield np.array(got), np.array(choose(x.min(), x.max(), 127 if reduce_range else 255))


def weighted(dims, cin, cout, kernel, groups, stride, padding, dilation, size, fast):
    """linear (dims 0) or a convolution; `fast` = fbgemm's depthwise path, which adds the bias another way."""
    per_channel, biased, relu = rng.integers(2, size=3)
    sx, zx, zo = scale(), zero(128), zero(128)
    w = rng.integers(-3, 4, (cout, cin // groups) + kernel).astype(np.int8)
    sw = np.array([scale() for _ in range(cout)]) if per_channel else scale()
    so = near(2.0 ** np.round(np.log2(sx * np.mean(sw) * np.sqrt(w[0].size) * 3)))
    b = np.array([near(v) for v in rng.integers(-3000, 3000, cout) * (sx * sw)]) if biased else None
    x = rng.integers(0, 128, (2, cin) + size).astype(np.uint8)
    tw, tb = torch.from_numpy(w), None if b is None else torch.from_numpy(b)
    if per_channel:
        qw = torch._make_per_channel_quantized_tensor(tw, torch.from_numpy(sw.astype(f64)), torch.zeros(cout).long(), 0)
    else:
        qw = torch._make_per_tensor_quantized_tensor(tw, float(sw), 0)
    real, tail = torch.from_numpy(x.astype(f64) - zx), "_relu" if relu else ""
    if dims == 0:
        packed, acc = ops.linear_prepack(qw, tb), real @ tw.double().T
        got = getattr(ops, "linear" + tail)(tensor(x, sx, zx), packed, float(so), zo)
    else:
        geometry = [[stride] * dims, [padding] * dims, [dilation] * dims, groups]
        packed = getattr(ops, f"conv{dims}d_prepack")(qw, tb, *geometry)
        acc = [F.conv1d, F.conv2d, F.conv3d][dims - 1](real, tw.double(), None, *geometry)
        got = getattr(ops, f"conv{dims}d{tail}")(tensor(x, sx, zx), packed, float(so), zo)
    shape = (1, -1) + (1,) * dims
    a, atw = acc.numpy().astype(f32), (f32(sx) * sw).astype(f32)
    if per_channel:
        atw = atw.reshape(shape)
    if biased:
        b = b.reshape(shape)
        if per_channel:
            a = a + b / atw
        elif fast:
            a = a + b * (f32(1) / atw)
        else:
            a = fma(b, f32(1) / atw, a)
    yield of(got), codes(np.rint((a * (atw / so)).astype(f32)) + zo, zo if relu else 0)


@check
def linear():
    yield from weighted(0, 40, 37, (), 1, 1, 0, 1, (), False)


@check
def conv_dense():
    yield from weighted(1, 16, 20, (3,), 1, 1, 1, 1, (30,), False)
    yield from weighted(2, 19, 21, (3, 3), 1, 1, 1, 1, (9, 9), False)
    yield from weighted(2, 32, 16, (3, 3), 4, 2, 2, 2, (11, 11), False)
    yield from weighted(3, 8, 12, (3, 3, 3), 2, 1, 1, 1, (5, 5, 5), False)


@check
def conv_depthwise_fast():
    yield from weighted(2, 32, 32, (3, 3), 32, 1, 1, 1, (9, 9), True)
    yield from weighted(2, 16, 32, (5, 5), 16, 2, 2, 1, (9, 9), True)
    yield from weighted(3, 8, 8, (3, 3, 3), 8, 1, 1, 1, (5, 5, 5), True)


@check
def conv_depthwise_other():
    yield from weighted(2, 20, 20, (3, 3), 20, 1, 1, 1, (9, 9), False)
    yield from weighted(2, 16, 16, (3, 3), 16, 1, 0, 1, (9, 9), False)
    yield from weighted(2, 16, 16, (3, 3), 16, 1, 2, 2, (9, 9), False)


@check
def linear_dynamic():
    k, n = rng.integers(1, 70, 2)
    x = (rng.standard_normal((7, k)) * 2.0 ** rng.integers(-8, 6)).astype(f32)
    w, sw, b = rng.integers(-127, 128, (n, k)).astype(np.int8), rng.random(n) * 0.02 + 0.001, rng.standard_normal(n).astype(f32)
    sw = sw.astype(f32)
    qw = torch._make_per_channel_quantized_tensor(torch.from_numpy(w), torch.from_numpy(sw.astype(f64)), torch.zeros(n).long(), 0)
    got = ops.linear_dynamic(torch.from_numpy(x), ops.linear_prepack(qw, torch.from_numpy(b)), True)
    s, z = choose(x.min(), x.max(), 127)
    q = np.clip(np.rint((x * (f32(1) / f32(s))).astype(f32)) + z, 0, 255)
    yield got.numpy(), fma(((q - z) @ w.T.astype(f64)).astype(f32), (f32(s) * sw).astype(f32), b)


# Element-wise.


def summed(a, b, qa, qb, so, zo, dequantize):
    """quantized::add by a given dequantize."""
    return quantize(dequantize(a, *qa) + dequantize(b, *qb), so, zo)


@check
def add_layouts():
    qa, qb, so, zo = (scale(), zero()), (scale(), zero()), scale() * f32(2), zero()
    shape = tuple(int(v) for v in rng.integers(2, 12, 4))
    a, b = some(shape), some(shape)
    run = a.size
    memory = lambda q, s, z: in_blocks(q, s, z, 64, run)
    yield of(ops.add(tensor(a, *qa), tensor(b, *qb), float(so), zo)), summed(a, b, qa, qb, so, zo, memory)
    got = nhwc(of(ops.add(tensor(a, *qa, True), tensor(b, *qb, True), float(so), zo)))
    yield got, summed(nhwc(a), nhwc(b), qa, qb, so, zo, memory)
    yield of(ops.add(tensor(a, *qa, True), tensor(b, *qb), float(so), zo)), summed(a, b, qa, qb, so, zo, plain)


@check
def add_broadcast():
    qa, qb, so, zo = (scale(), zero()), (scale(), zero()), scale() * f32(2), zero()
    n, c, h, w = (int(v) for v in rng.integers(2, 90, 4) // (8, 1, 8, 8) + 2)
    a, b = some((n, c, h, w)), some((1, c, 1, 1))
    wide = np.ascontiguousarray(np.broadcast_to(b, a.shape))
    rows = lambda q, s, z: in_blocks(q, s, z, 64, h * w)
    yield of(ops.add(tensor(a, *qa), tensor(b, *qb), float(so), zo)), summed(a, wide, qa, qb, so, zo, rows)
    pixels = lambda q, s, z: in_blocks(q, s, z, 64, c)
    got = nhwc(of(ops.add(tensor(a, *qa, True), tensor(b, *qb), float(so), zo)))
    yield got, summed(nhwc(a), nhwc(wide), qa, qb, so, zo, pixels)


@check
def mul():
    a, b, (sa, sb, so), (za, zb, zo) = some(150), some(150), (scale(), scale(), scale()), (zero(), zero(), zero())
    product = ((a.astype(int) - za) * (b.astype(int) - zb)).astype(f32)
    want = codes(np.rint((product * (sa * sb * (f32(1) / so))).astype(f32)) + zo)
    yield of(ops.mul(tensor(a, sa, za), tensor(b, sb, zb), float(so), zo)), want


@check
def activations():
    every = np.arange(256).astype(np.uint8)
    s, z, so, zo = scale() * f32(8), zero(), scale(), zero()
    six = lambda x: np.minimum(np.maximum(x + f32(3), f32(0)), f32(6))
    for q, dequantize in ((every, fused), (every[:63], plain)):
        x, t = dequantize(q, s, z), tensor(q, s, z)
        yield of(ops.hardswish(t, float(so), zo)), quantize(x * six(x) / f32(6), so, zo)
        yield of(F.hardsigmoid(t)), quantize(six(x) / f32(6), 1 / 256, 0)
        yield of(F.leaky_relu(t, 0.125)), quantize(np.where(x > 0, x, x * f32(0.125)), s, z)
        exact = x.astype(f64)
        yield of(torch.sigmoid(t)), quantize((1 / (1 + np.exp(-exact))).astype(f32), 1 / 256, 0)
        yield of(torch.tanh(t)), quantize(np.tanh(exact).astype(f32), 1 / 128, 128)
        lower, upper = quantize(np.array([0, 6], f32), s, z)
        yield of(torch.clamp(t, 0.0, 6.0)), np.minimum(np.maximum(q, lower), upper)
        below = np.expm1(exact).astype(f32)
        if dequantize is fused:
            below = np.where(x < f32(-16.635532), f32(-1), below)
        yield of(ops.elu(t, float(so), zo, 1.0, 1.0, 1.0)), quantize(np.where(x >= 0, x, below), so, zo)


@check
def scalars():
    q, s, z = some(80), float(scale()), zero()
    c = float(rng.standard_normal() * s * rng.choice([40, 400]))
    got, moved = ops.add_scalar(tensor(q, s, z), c), z - int(np.rint(c / s))
    qparams = (s, moved)
    want = q
    if not 0 <= moved <= 255:
        qparams = ((255.0 - moved) / 255.0 * s, 0) if moved < 0 else (moved / 255.0 * s, 255)
        factor = f32(s) * (f32(1) / f32(qparams[0]))
        want = codes(np.rint(((q.astype(int) - moved).astype(f32) * factor).astype(f32)) + qparams[1])
    yield of(got), want
    yield np.array([got.q_scale(), got.q_zero_point()]), np.array(qparams)
    k = float(rng.standard_normal() * 4)
    got = ops.mul_scalar(tensor(q, s, z), k)
    yield of(got), q if k > 0 else 255 - q
    yield np.array([got.q_scale(), got.q_zero_point()]), np.array([s * abs(k), z if k > 0 else 255 - z])


@check
def cat():
    so, zo = scale(), zero()
    sources = [(some((2, int(rng.integers(2, 40)), 3, 5)), scale(), zero()) for _ in range(3)]
    for channels_last in (False, True):
        got = ops.cat([tensor(*source, channels_last) for source in sources], 1, float(so), zo)
        parts = []
        for q, s, z in sources:
            whole = q.shape[1] // 8 * 8 if channels_last else 0
            parts.append(np.concatenate([fused(q[:, :whole], s, z), plain(q[:, whole:], s, z)], 1))
        yield of(got), quantize(np.concatenate(parts, 1), so, zo)


# Pools.


def averaged(total, valid, divisor, z, channels_last):
    """avg_pool2d: the layout decides whether the zero point is added before or after rounding."""
    mean = ((total - valid * z).astype(f32) * (f32(1) / divisor.astype(f32))).astype(f32)
    return codes(np.rint(mean) + z if channels_last else np.rint(mean + f32(z)))


@check
def pool_avg():
    kernel, padding = [int(v) for v in rng.integers(1, 6, 2)], 0
    if rng.integers(2):
        padding = min(kernel) // 2
    include, size = bool(rng.integers(2)), kernel[0] * kernel[1]
    s, z = scale(), zero()
    q = some((2, 11, 12, 9), z)
    window = lambda x: np.rint(F.avg_pool2d(torch.from_numpy(x.astype(f64)), kernel, 2, padding).numpy() * size).astype(np.int64)
    total, valid = window(q), window(np.ones_like(q))
    for channels_last in (False, True):
        got = F.avg_pool2d(tensor(q, s, z, channels_last), kernel, 2, padding, False, include)
        yield of(got), averaged(total, valid, np.full_like(valid, size) if include else valid, z, channels_last)


@check
def pool_adaptive():
    h, w, oh, ow = (int(v) for v in rng.integers((2, 2, 1, 1), (16, 16, 5, 5)))
    s, z = scale(), zero()
    q = some((2, 11, h, w), z)
    for channels_last in (False, True):
        got = of(F.adaptive_avg_pool2d(tensor(q, s, z, channels_last), (oh, ow)))
        want = np.zeros_like(got)
        for i in range(oh):
            for j in range(ow):
                cells = q[:, :, i * h // oh : -(-(i + 1) * h // oh), j * w // ow : -(-(j + 1) * w // ow)]
                kh, kw = cells.shape[2:]
                total = cells.astype(np.int64).sum((2, 3))
                if channels_last:
                    want[:, :, i, j] = averaged(total, kh * kw, np.array(kh * kw), z, True)
                else:
                    want[:, :, i, j] = codes(np.rint((total.astype(f32) * (f32(1) / f32(kh) / f32(kw))).astype(f32)))
        yield got, want


@check
def pool_max():
    k, d, ceil = int(rng.integers(2, 4)), int(rng.integers(1, 3)), bool(rng.integers(2))
    q, s, z = some((2, 5, 11, 9)), scale(), zero()
    want = F.max_pool2d(torch.from_numpy(q.astype(f64)), k, 2, k // 2, d, ceil).numpy()
    for channels_last in (False, True):
        yield of(F.max_pool2d(tensor(q, s, z, channels_last), k, 2, k // 2, d, ceil)), want


@check
def mean():
    h, w, c = (int(v) for v in rng.integers((2, 2, 2), (12, 12, 80)))
    s, z = scale(), zero()
    q = some((2, c, h, w), z)
    yield of(tensor(q, s, z).mean([2, 3])), codes(np.rint(q.astype(np.int64).sum((2, 3)).astype(f32) / f32(h * w)))
    pixels = np.transpose(plain(q, s, z), (2, 3, 0, 1)).reshape(h * w, 2, c)
    split = c // 32 * 32 if c >= 8 else c // 4 * 4
    total = np.concatenate([cascade(pixels[:, :, :split]), four_cascades(pixels[:, :, split:])], -1)
    yield of(tensor(q, s, z, True).mean([2, 3])), quantize(total / f32(h * w), s, z)


def cascade(rows):
    """ATen's f32 sum over the first axis: four levels of partial sums."""
    count = len(rows)
    power = max(4, int(np.ceil(np.log2(count))) // 4 if count > 1 else 0)
    step, levels, i = 1 << power, [np.zeros(rows.shape[1:], f32) for _ in range(4)], 0
    while i + step <= count:
        for _ in range(step):
            levels[0] = levels[0] + rows[i]
            i += 1
        for j in range(1, 4):
            levels[j], levels[j - 1] = levels[j] + levels[j - 1], np.zeros_like(levels[0])
            if i & ((step - 1) << (j * power)):
                break
    for row in rows[i:]:
        levels[0] = levels[0] + row
    return levels[0] + levels[1] + levels[2] + levels[3]


def four_cascades(rows):
    """The same for columns that fill no block of vectors: four interleaved cascades."""
    quarter = len(rows) // 4
    parts = [cascade(rows[k : quarter * 4 : 4]) for k in range(4)]
    for row in rows[quarter * 4 :]:
        parts[0] = parts[0] + row
    return parts[0] + parts[1] + parts[2] + parts[3]


# Norms and upsampling.


@check
def batch_norm():
    c, sx, zx, so, zo = int(rng.integers(2, 40)), scale(), zero(), scale(), zero()
    var = rng.random(c).astype(f32) + f32(0.1)
    root = np.sqrt(var + f32(1e-5))
    w = np.array([near(v) for v in 2.0 ** rng.integers(-3, 1, c) * root * so / sx])
    mu, b = (rng.integers(-20, 20, c) * sx).astype(f32), (rng.integers(-20, 20, c) * so / 2).astype(f32)
    q, inverse, shape = some((1, c, 5, 5)), f32(1) / root, (1, -1, 1, 1)
    alpha = ((inverse * w).astype(f64) * (f64(sx) / f64(so))).astype(f32)
    beta = ((b - mu * inverse * w).astype(f64) / f64(so)).astype(f32)
    got = ops.batch_norm2d(tensor(q, sx, zx), *map(torch.from_numpy, (w, b, mu, var)), 1e-5, float(so), zo)
    yield of(got), codes(np.rint(fma(alpha.reshape(shape), q.astype(f32) - f32(zx), beta.reshape(shape))) + zo)


def statistics(q, s, z):
    """Mean in units of the scale, and scale over deviation, of the last axis."""
    n, q = f32(q.shape[-1]), q.astype(np.int64)
    m = q.sum(-1, keepdims=True).astype(f32) / n
    var = np.maximum(fma(-m, m, (q * q).sum(-1, keepdims=True).astype(f32) / n), f32(0))
    return m - f32(z), (f64(s) / np.sqrt((var * s * s).astype(f64) + 1e-5)).astype(f32)


def symmetric(groups, count):
    """Codes whose mean is whole, so that the normalised values tie."""
    half = rng.integers(-6, 7, (groups, count // 2))
    return codes(np.concatenate([half, -half], 1) + int(rng.integers(10, 240)))


def affine(r, so):
    """gamma and beta that make ties for given deviations."""
    gamma = np.array([near(so / (2 * v) * 2.0 ** rng.integers(-1, 3)) for v in r])
    return gamma, (rng.integers(-9, 10, len(r)) * so / 2).astype(f32)


@check
def layer_norm():
    q, s, z, so, zo = symmetric(1, 2 * int(rng.integers(1, 200))), scale(), zero(), scale(), zero()
    mu, r = statistics(q, s, z)
    gamma, beta = affine(np.repeat(r, q.size), so)
    got = ops.layer_norm(tensor(q, s, z), [q.size], torch.from_numpy(gamma), torch.from_numpy(beta), 1e-5, float(so), zo)
    yield of(got), quantize(fma((q.astype(f32) - f32(z) - mu) * r, gamma, beta), so, zo)


@check
def group_norm():
    groups, per, h, w = (int(v) for v in rng.integers((2, 1, 1, 1), (40, 4, 4, 9)))
    h, c = 2 * h, groups * per
    q, s, z, so, zo = symmetric(groups, per * h * w), scale(), zero(), scale(), zero()
    mu, r = statistics(q, s, z)
    gamma, beta = affine(np.repeat(r, per), so)
    mu, r = np.repeat(mu, per, 0), np.repeat(r, per, 0)
    x = q.astype(f32).reshape(c, h * w) - f32(z)
    g, b = r * gamma[:, None], beta[:, None]
    parameters = (groups, torch.from_numpy(gamma), torch.from_numpy(beta), 1e-5, float(so), zo)
    q = q.reshape(1, c, h, w)
    yield of(ops.group_norm(tensor(q, s, z), *parameters)).reshape(c, -1), quantize(fma(x - mu, g, b), so, zo)
    yield of(ops.group_norm(tensor(q, s, z, True), *parameters)).reshape(c, -1), quantize(fma(x, g, fma(-mu, g, b)), so, zo)


@check
def upsample():
    h, w, oh, ow = (int(v) for v in rng.integers((2, 2, 1, 1), (9, 9, 20, 20)))
    c, s, z, corners = int(rng.choice([3, 16, 20])), scale(), zero(), bool(rng.integers(2))
    q = some((1, c, h, w), z)
    near_h, near_w = (np.floor(np.arange(o).astype(f32) * (f32(i) / f32(o))).astype(int).clip(0, i - 1) for i, o in ((h, oh), (w, ow)))
    for channels_last in (False, True):
        t = tensor(q, s, z, channels_last)
        yield of(F.interpolate(t, size=(oh, ow))), q[:, :, near_h][:, :, :, near_w]
        if (h, w) != (oh, ow):
            got = F.interpolate(t, size=(oh, ow), mode="bilinear", align_corners=corners)
            yield of(got), bilinear(q.astype(f32), oh, ow, z, corners, channels_last)


def bilinear(q, oh, ow, z, corners, channels_last):
    """Bilinear upsampling; channels_last has fused arithmetic, in two orders."""
    h, hp, h1 = positions(q.shape[2], oh, corners, channels_last)
    w, wp, w1 = positions(q.shape[3], ow, corners, channels_last)
    h1, w1 = h1[:, None], w1[None]
    h0, w0 = f32(1) - h1, f32(1) - w1
    a, b, c, d = (q[:, :, y][:, :, :, x] for y in (h, hp) for x in (w, wp))
    value = h0 * (w0 * a + w1 * b) + h1 * (w0 * c + w1 * d)
    if channels_last:
        whole = q.shape[1] // 8 * 8
        vector = fma(h1, fma(w1, d, w0 * c), h0 * fma(w1, b, w0 * a))
        scalar = fma(h0, fma(w0, a, w1 * b), h1 * fma(w0, c, w1 * d))
        value = np.concatenate([vector[:, :whole], scalar[:, whole:]], 1)
    return codes(np.rint(value - f32(z)) + z)


def positions(size, out, corners, channels_last):
    """Source index, its neighbour and the neighbour's weight, for each output position."""
    o = np.arange(out).astype(f32)
    if corners:
        p = o * (f32((size - 1) / (out - 1)) if out > 1 else f32(0))
    else:
        ratio = f32(size) / f32(out)
        p = fma(o + f32(0.5), ratio, f32(-0.5)) if channels_last else (o + f32(0.5)) * ratio - f32(0.5)
        p = np.maximum(p, f32(0))
    i = np.minimum(p.astype(int), size - 1)
    return i, np.minimum(i + 1, size - 1), (p - i).astype(f32)


if __name__ == "__main__":
    main()
