"""Cases of single operators with what PyTorch computes for them: calls, their arguments, and the result that is expected."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.manual_seed(20)
rng = np.random.default_rng(20)
data, cases = {}, []
kept = {}

NAMES = {
    torch.quint8: "QUInt8",
    torch.qint8: "QInt8",
    torch.qint32: "QInt32",
    torch.uint8: "Byte",
    torch.int8: "Char",
    torch.int32: "Int",
    torch.int64: "Long",
    torch.bool: "Bool",
    torch.float16: "Half",
    torch.float64: "Double",
}
CODES = {torch.quint8: 13, torch.qint8: 12, torch.qint32: 14, torch.quint4x2: 16, torch.float32: 6, torch.int64: 4, torch.int8: 1}


def ulps(x, most=2):
    """A float32 at most `most` ulp from x."""
    x = np.float32(x)
    for _ in range(rng.integers(0, most + 1)):
        x = np.nextafter(x, np.float32(rng.choice([-np.inf, np.inf])))
    return float(x)


def pack_tensor(t):
    """The record of a tensor; its codes or values go to the file in logical order, equal ones once."""
    record = {"last": bool(t.dim() in (4, 5) and not t.is_contiguous())}
    if t.dtype != torch.float32:
        record["dtype"] = NAMES[t.dtype]
    if t.is_quantized:
        if t.qscheme() == torch.per_tensor_affine:
            record["scale"], record["zero"] = t.q_scale(), t.q_zero_point()
        else:
            record["scales"] = t.q_per_channel_scales().tolist()
            record["zeros"] = t.q_per_channel_zero_points().tolist()
        t = t.int_repr()
    t = t.detach().contiguous().clone()
    record["t"] = kept.setdefault((t.dtype, t.numpy().tobytes()), f"t{len(data)}")
    if data.setdefault(record["t"], t).shape != t.shape:
        record["shape"] = list(t.shape)
    return record


def pack(value):
    if isinstance(value, Result):
        return {"r": value.call, "o": value.output}
    if isinstance(value, torch.Tensor):
        return pack_tensor(value)
    if isinstance(value, (list, tuple)):
        return [pack(v) for v in value]
    return value


def real(value):
    if isinstance(value, Result):
        return value.value
    return [real(v) for v in value] if isinstance(value, (list, tuple)) else value


class Result:
    """The result of an earlier call of the case, or one of its several results."""

    def __init__(self, call, value, output=0):
        self.call, self.value, self.output = call, value, output

    def __getitem__(self, output):
        return Result(self.call, self.value[output], output)


class Case:
    """A case under a contract: the arithmetic of the engine of this name. A near one holds functions of a math library."""

    def __init__(self, name, contract="fbgemm", near=False):
        self.name, self.calls, self.contract, self.near = name, [], contract, near

    def call(self, op, *args):
        namespace, name = op.split("::")
        function = getattr(getattr(torch.ops, namespace), name.split(".")[0])
        if "." in name:
            function = getattr(function, name.split(".")[1])
        packed = [pack(a) for a in args]
        engine = torch.backends.quantized.engine
        torch.backends.quantized.engine = self.contract
        overload = function if "." in name else function.default if hasattr(function, "default") else None
        names = [a.name for a in overload._schema.arguments if a.kwarg_only] if overload else []
        plain = len(overload._schema.arguments) - len(names) if overload else len(args)
        result = function(*[real(a) for a in args[:plain]], **dict(zip(names, [real(a) for a in args[plain:]])))
        torch.backends.quantized.engine = engine
        self.calls.append({"op": op, "args": packed})
        return Result(len(self.calls) - 1, result)

    def expect(self, result):
        value = result.value
        record = pack_tensor(value)
        record["strides"] = list(value.stride())
        case = {"name": self.name, "calls": self.calls, "expect": record, "output": result.output}
        case |= {} if self.contract == "fbgemm" else {"contract": self.contract}
        cases.append(case | ({"near": True} if self.near else {}))


def codes(shape, scale, zero, low=0, high=255, dtype=torch.quint8, last=False):
    q = torch.from_numpy(rng.integers(low, high + 1, shape).astype(np.int32))
    t = torch._make_per_tensor_quantized_tensor(q.to(torch.uint8 if dtype == torch.quint8 else torch.int8), scale, zero)
    return t.contiguous(memory_format=torch.channels_last if t.dim() == 4 else torch.channels_last_3d) if last else t


def weight(shape, per_channel, scale=2.0**-6, axis=0):
    q = torch.from_numpy(rng.integers(-15, 16, shape).astype(np.int8))
    if not per_channel:
        return torch._make_per_tensor_quantized_tensor(q, ulps(scale), 0)
    scales = torch.tensor([ulps(scale * rng.choice([0.5, 1.0, 2.0])) for _ in range(shape[axis])], dtype=torch.float64)
    return torch._make_per_channel_quantized_tensor(q, scales, torch.zeros(shape[axis], dtype=torch.long), axis)


def bias(w, sx, count):
    scale = w.q_per_channel_scales().numpy() if w.qscheme() != torch.per_tensor_affine else np.full(count, w.q_scale())
    whole = rng.integers(-400, 400, count)
    return torch.tensor([ulps(np.float32(sx) * np.float32(s) * n, 1) for s, n in zip(scale, whole)], dtype=torch.float32)


def save(path):
    text = json.dumps(cases, default=lambda v: CODES[v])
    save_file(data, path, metadata={"cases": text, "torch": torch.__version__})
    print(len(cases), "cases")
