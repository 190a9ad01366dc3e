#!/usr/bin/env python3
"""Makes the importer's test archives: small TorchScript modules, one construct of the language or of the format each.

Every case is a folder in the form of `tests/fixtures/oracle`:

* `before.pt`: the archive, as `torch.jit.save` writes it (without source ranges);
* `before.ir`: the graphs of the module that PyTorch loads from it;
* `tensors.safetensors`: `input.N`, and what PyTorch computes: `before`, and `after_fbgemm` once PyTorch's own Finalize has run;
* `meta.json`: quantization type, names to preserve, and what PyTorch says where it fails.

Archives of older format versions are made by writing another version number into a new one: PyTorch then applies its upgraders on
loading, and what it loads is what the case shows.

    tools/import_fixtures.py --out src/import/tests/fixtures [--only NAME ...]
"""

import argparse
import json
import math
import re
import shutil
import sys
import zipfile
from enum import Enum
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.ao.quantization import default_dynamic_qconfig, float16_dynamic_qconfig, get_default_qconfig
from torch.ao.quantization.quantize_jit import (
    _convert_ondevice_dynamic_jit,
    _prepare_ondevice_dynamic_jit,
    convert_dynamic_jit,
    prepare_dynamic_jit,
)

import reference

CASES = {}

# A line of a printed graph that is an operator.
NODE = re.compile(r"\s+(%.* )?= \w+::\w+")


def case(**options):
    """Registers a function that makes a case: it returns a module and its inputs."""

    def register(make):
        CASES[make.__name__] = (make, options)
        return make

    return register


def batch(*shape):
    """Numbers from -2 to 2, the same ones in every run."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 37 % 101) / 101 * 4 - 2).reshape(shape)


def seeded(make):
    """A module whose weights are the same ones in every run."""
    torch.manual_seed(3)
    return make()


# --- control flow ---


class Loops(nn.Module):
    def forward(self, x):
        total = torch.zeros_like(x)
        k = 0
        while k < 10:
            k += 1
            if k % 2 == 0:
                continue
            if k > 7:
                break
            total = total + x * k
        for i in range(2, 8, 3):
            total = total - i
        for i in range(3, 0, -1):
            total = total * i
        for v in [1.5, 2.5]:
            total = total + v
        for i, v in enumerate(["a", "bc"]):
            total = total + i * len(v)
        for a, b in zip([1, 2], [0.5, 0.25]):
            total = total + a * b
        for row in x:
            total = total + row
        for j in x.shape:
            total = total + j
        words = {"one": 1, "two": 2}
        for key, value in words.items():
            total = total + value * len(key)
        for key in words:
            total = total + words[key]
        for c in "xyz":
            total = total + len(c)
        return total


@case()
def loops():
    return Loops(), [batch(2, 3)]


class Returns(nn.Module):
    def first_positive(self, x) -> Optional[int]:
        for i in range(x.size(0)):
            if x[i].item() > 0:
                return i
        return None

    def forward(self, x):
        at = self.first_positive(x)
        if at is None:
            return x
        if at == 0:
            return -x
        elif at == 1:
            y = x + at
            if y.sum().item() > 0:
                return y * 2
            else:
                y = y * 3
        else:
            return x * at
        while True:
            y = y + 1
            if y.sum().item() > 10:
                return y
        return y


@case()
def early_returns():
    return Returns(), [torch.tensor([-1.0, 0.5, -3.0])]


class Comprehensions(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)])
        self.named = nn.ModuleDict({"a": nn.Linear(4, 4), "b": nn.Sigmoid()})

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        for i, layer in enumerate(self.layers):
            x = layer(x) + i
        for name, layer in self.named.items():
            x = layer(x) * len(name)
        doubled = [v * 2 for v in [x, x + 1]]
        sizes = {i: s for i, s in enumerate([3, 4])}
        x = self.layers[1](torch.cat(doubled, 1)) + sizes[1]
        return x[:, 1:7:2]


@case()
def containers_of_modules():
    return seeded(Comprehensions), [batch(2, 4)]


class NoGrad(nn.Module):
    def forward(self, x):
        with torch.no_grad():
            y = x + 1
            with torch.no_grad():
                y = y * x
        return y


@case()
def with_no_grad():
    return NoGrad(), [batch(2, 3)]


@torch.jit.script
class Scale:
    def __init__(self, by: float):
        self.by = by
        self.depth = 0

    def __enter__(self) -> float:
        self.depth = self.depth + 1
        return self.by * 2.0

    def __exit__(self, kind: Any, value: Any, trace: Any):
        self.depth = self.depth - 1


class WithObject(nn.Module):
    def forward(self, x):
        scale = Scale(1.5)
        with scale as by:
            x = x * by + scale.depth
        return x * by + scale.depth


@case()
def with_object():
    return WithObject(), [batch(2, 3)]


class Raises(nn.Module):
    def forward(self, x):
        assert x.dim() == 2, f"two dimensions and not {x.dim()}"
        if x.size(0) > 100:
            raise ValueError("too {} rows: {}".format("many", x.size(0)))
        if x.size(1) > 100:
            raise NotImplementedError
        return x.relu()


@case()
def raises():
    return Raises(), [batch(2, 3)]


# --- fork and wait ---


def doubled(x: Tensor, by: float = 2.0) -> Tensor:
    return x * by


class Fork(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x):
        first = torch.jit.fork(self.a, x)
        second = torch.jit.fork(doubled, x, by=3.0)
        y = self.b(x)
        return torch.jit.wait(first) + y + torch.jit.wait(second)


@case()
def fork_wait():
    return seeded(Fork), [batch(2, 4)]


class ForkMany(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def half(self, x, scale: float) -> Tuple[Tensor, int]:
        if x.size(0) > 1:
            return self.a(x) * scale, 1
        return x, 2

    def forward(self, x):
        futures: List[torch.jit.Future[Tuple[Tensor, int]]] = []
        for i in range(3):
            futures.append(torch.jit.fork(self.half, x, i * 0.5))
        out = x
        for future in futures:
            y, k = torch.jit.wait(future)
            out = out + y * k
        inner = torch.jit.fork(self.nested, out)
        return inner.wait()

    def nested(self, x):
        return torch.jit.fork(doubled, x).wait() + 1


@case()
def fork_many():
    return seeded(ForkMany), [batch(2, 4)]


@case(quantize=True)
def fork_wait_quantized():
    return seeded(Fork), [batch(2, 4)]


# --- interfaces, classes, data ---


@torch.jit.interface
class Block(nn.Module):
    def forward(self, x: Tensor, scale: float) -> Tensor:
        pass


class BlockA(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.fc(x) * scale


class BlockB(nn.Module):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return x.relu() + scale


class Interfaces(nn.Module):
    first: Block
    second: Block

    def __init__(self):
        super().__init__()
        self.first = BlockA()
        self.second = BlockB()

    def forward(self, x):
        return self.second(self.first(x, 2.0), 1.0)


@case()
def iface_attr():
    return seeded(Interfaces), [batch(2, 4)]


class InterfaceLocal(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([BlockA(), BlockB()])

    def forward(self, x):
        for i in range(2):
            block: Block = self.blocks[i]
            x = block.forward(x, 0.5)
        return x


@case()
def iface_local():
    return seeded(InterfaceLocal), [batch(2, 4)]


@case(quantize=True)
def iface_attr_quantized():
    return seeded(Interfaces), [batch(2, 4)]


@torch.jit.script
class Counter:
    def __init__(self, start: int, name: str = "c"):
        self.count = start
        self.name = name
        self.steps: List[int] = []
        self.best = torch.zeros(1)

    def add(self, by: int) -> int:
        self.count += by
        self.steps.append(by)
        return self.count

    def watch(self, x: Tensor):
        self.best = torch.max(self.best, x.max())

    def __len__(self) -> int:
        return len(self.steps)

    @staticmethod
    def twice(n: int) -> int:
        return 2 * n

    @property
    def label(self) -> str:
        return self.name + str(self.count)


def count_up(counter: Counter, n: int) -> int:
    for _ in range(n):
        counter.add(2)
    return counter.count


class ScriptClass(nn.Module):
    def forward(self, x):
        counter = Counter(1)
        total = count_up(counter, 3) + counter.add(by=5)
        counter.watch(x)
        other = counter
        other.count = Counter.twice(other.count)
        return x * total + counter.best + len(counter) + len(counter.label) + counter.count


@case()
def script_class():
    return ScriptClass(), [batch(2, 4)]


class Mode(Enum):
    FAST = 1
    EXACT = 2


class Kind(Enum):
    A = "a"
    B = "bb"


class Enums(nn.Module):
    mode: Mode

    def __init__(self):
        super().__init__()
        self.mode = Mode.EXACT

    def pick(self, kind: Kind) -> int:
        if kind == Kind.A:
            return 1
        return len(kind.value) + len(kind.name)

    def forward(self, x):
        if self.mode == Mode.FAST:
            x = x + 1
        elif self.mode is not Mode.FAST:
            x = x * self.mode.value
        for mode in Mode:
            x = x + mode.value
        return x + self.pick(Kind.B)


@case()
def enums():
    return Enums(), [batch(2, 3)]


class Point(NamedTuple):
    x: Tensor
    y: Optional[Tensor] = None
    label: str = "none"


class Boxed(NamedTuple):
    at: Point
    sizes: List[int]


class NamedTuples(nn.Module):
    pair: Tuple[int, float]

    def __init__(self):
        super().__init__()
        self.pair = (3, 0.5)

    def move(self, p: Point) -> Point:
        y = p.y
        if y is None:
            y = p.x * 2
        return Point(p.x + 1, y, p.label + "!")

    def forward(self, x):
        p = self.move(Point(x))
        box = Boxed(at=self.move(p), sizes=[1, 2])
        q = box.at
        y = q.y
        assert y is not None
        a, (b, c) = 1, (2, self.pair)
        nested = ((x, a), [b])
        (u, v), w = nested
        return q.x + y + len(q.label) + box.sizes[-1] + c[0] * c[1] + u * v + w[0] + sum(self.pair[:1])


@case()
def named_tuples():
    return NamedTuples(), [batch(2, 3)]


class Optionals(nn.Module):
    bias: Optional[Tensor]
    extra: Optional[Tensor]

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(batch(3))
        self.extra = None

    def pick(self, x: Optional[Tensor], n: Optional[int] = None, flag: bool = False) -> Tensor:
        if x is None:
            return torch.zeros(3)
        if n is not None and n > 1:
            return x * n
        if flag or n is None:
            return x + 0.5
        return x

    def kind(self, x: Union[int, str, List[int]]) -> int:
        if isinstance(x, int):
            return x
        elif isinstance(x, str):
            return len(x)
        else:
            return len(x)

    def anything(self, x: Any) -> int:
        if isinstance(x, (int, float)):
            return 1
        if torch.jit.isinstance(x, List[int]):
            return x[0]
        if torch.jit.isinstance(x, Dict[str, Tensor]):
            return len(x)
        return 4

    def forward(self, x):
        y = self.pick(x, 3) + self.pick(None) + self.pick(x, flag=True)
        bias = self.bias
        if bias is not None:
            y = y + bias
        if self.extra is not None:
            y = y + 1000
        z: Optional[Tensor] = None
        if y.sum().item() > 0:
            z = y
        else:
            z = -y
        y = y + torch.jit._unwrap_optional(z)
        n = self.kind(3) + self.kind("four") + self.kind([1, 2])
        m = self.anything(1.0) + self.anything([5, 6]) + self.anything({"x": x}) + self.anything(x)
        return y + n + m


@case()
def optionals():
    return Optionals(), [batch(2, 3)]


class Dicts(nn.Module):
    table: Dict[str, int]
    by_int: Dict[int, Tensor]
    lists: Dict[str, List[int]]

    def __init__(self):
        super().__init__()
        self.table = {"a": 1, "b": 2}
        self.by_int = {3: batch(3)}
        self.lists = {}

    def forward(self, x):
        d: Dict[str, Tensor] = {}
        d["x"] = x
        d["y"] = x + 1
        if "x" in d and "z" not in d:
            d["z"] = d["x"] * self.table["b"]
        keys = list(d.keys())
        total = torch.zeros_like(x)
        for value in d.values():
            total = total + value
        del d["y"]
        popped = d.pop("z")
        found = d.get("none")
        fallback = d.get("none", x)
        if found is not None:
            total = total + 100
        copied = dict(d)
        copied.update({"w": x})
        d.setdefault("q", x)
        self.lists["k"] = [1, 2]
        return total + popped + fallback + len(keys) + len(copied) + len(d) + self.by_int[3] + len(self.lists["k"])


@case()
def dicts():
    return Dicts(), [batch(2, 3)]


class Texts(nn.Module):
    words: List[str]

    def __init__(self):
        super().__init__()
        self.words = ["größe", 'say "hi"\n', "tab\t\\", "日本"]

    def forward(self, x):
        s = "Hello, {} and {}".format("you", 3)
        s = s + f"{x.dim()}|{self.words[0]}"
        s = "-".join(s.split(","))
        s = s.replace("o", "0").upper().strip()
        n = len(s) + s.find("Y") + s.count("L") + int(s.startswith("HELL")) + ord("a") + int("12") + len(str(2.5)) + len("größe")
        if s == "nothing" or s[0] != "H" or s[1:3] == "zz":
            n = -1
        print("n is", n, x.size())
        parts: List[str] = []
        for i in range(3):
            parts.append(str(i) + ":" + chr(97 + i))
        parts.sort(reverse=True)
        return x + n + float("1.5") + len(" ".join(parts)) + len(self.words[1] % ()) if False else x + n + len(" ".join(parts))


@case()
def texts():
    return Texts(), [batch(2, 3)]


class Lists(nn.Module):
    def forward(self, x):
        a = [3, 1, 2]
        a.append(7)
        a.extend([8, 9])
        a.insert(0, 4)
        a.reverse()
        b = sorted(a)
        a.remove(7)
        c = a + b
        c += [1]
        last = c.pop()
        first = c.pop(0)
        c[1] = 40
        c[-1] = 41
        d = c[1:-1:2]
        e = c[:]
        del e[0]
        found = e.index(41) + e.count(41) + int(3 in a) + int(3 not in a)
        m = min(a) + max(a) + sum(b) + min(1, 2) + max(2.5, 1.0) + abs(-3) + int(any([True, False])) + int(all([True]))
        f = [0.5] * 3
        g: List[List[int]] = [[1], [2, 3]]
        h = list(range(4))
        t = [x, x + 1]
        u, v = t
        t[0] = u * 2
        n = m + last + first + d[0] + len(e) + found + len(f) + g[1][1] + h[3] + len(list("abc"))
        same = a == b or [1, 2] == [1, 2]
        return torch.stack(t).sum(0) + v + n + int(same)


@case()
def lists():
    return Lists(), [batch(2, 3)]


class Numbers(nn.Module):
    def forward(self, x):
        n = x.size(0)
        i = 7 // 2 + 7 % 3 + 2**3 + (5 & 3) + (5 | 2) + (5 ^ 1) + (1 << 4) + (64 >> 2)
        f = 7 / 2 + 2.0**0.5 + float(n) + 7.5 // 2 + 7.5 % 2 + math.sqrt(2.0) + math.floor(2.5) + math.ceil(2.1) + math.pi
        f = f + round(2.567) + math.log(3.0) + math.exp(1.0) + math.sin(0.5) + math.pow(2.0, 3) + float("inf") * 0.0
        if math.isnan(f):
            f = -1.5
        g = divmod(7, 2)
        b = not (n > 3 and f < 2.0) or n == 2
        s = int(2.9) + int(True) + int(x.sum() > 100) + bool(n) + int("5")
        huge = -9223372036854775807 - 1
        z = complex(1.0, -2.0) * 2
        w = abs(z) + abs(complex(3.0, 4.0))
        return x * i + f + g[0] + g[1] + int(b) + s + (huge % 5) + w + 1e-3 + 3.4028234663852886e38 * 0


@case()
def numbers():
    return Numbers(), [batch(2, 3)]


class OddCalls(nn.Module):
    """Calls that need a conversion, a default or the second round of overload resolution."""

    def forward(self, x, n):
        k = x.size(0)
        y = torch.add(x, 1) + torch.add(x, 1, alpha=2) + torch.add(x, x, alpha=k) + torch.sub(x, 1.5, alpha=1) + torch.rsub(x, 2)
        y = y + torch.mul(x, True) + torch.div(x, 2, rounding_mode="floor") + torch.pow(x.abs(), 2) + torch.pow(2.5, x) + x**k
        z = F.pad(x, (1, 1)) + F.pad(x, [1, 1], value=1.0)
        w = torch.zeros(k, 3) + torch.ones((k, 3)) + torch.zeros([2, 3], dtype=torch.float64) + torch.full((2, 3), 1.0)
        u = x.view(3, 2).view((2, 3)).reshape(-1).reshape(2, -1).permute(1, 0).permute((1, 0)).expand(2, 3).repeat(1, 1)
        image = x.reshape(1, 1, 2, 3)
        p = F.max_pool2d(image, 2, 1) + F.avg_pool2d(image, (2, 2), stride=1) + F.max_pool2d(image, kernel_size=[2, 2], stride=1)
        c = F.conv2d(image, torch.ones(1, 1, 2, 2), padding=0) + F.conv2d(image, torch.ones(1, 1, 2, 2), None, 1, "valid")
        s = x.sum() + x.sum(1).sum() + x.sum([0, 1]) + x.sum(dim=(0, 1), keepdim=True) + x.mean(dtype=torch.float32) + x.mean(1, True).sum()
        m = torch.max(x) + torch.max(x, x).sum() + torch.max(x, 1)[0].sum() + torch.max(x, dim=0, keepdim=True).values.sum() + max(1, k)
        t = x.transpose(0, 1).size(0) + x.size()[1] + len(x) + int(n.sum()) + int(n[0]) + float(n[1]) + int(2.7)
        g = x[n] + x.index_select(0, n) + torch.gather(x, 1, n.unsqueeze(1)) + x.select(0, int(n[0])) + x[int(n[1])]
        a = x.clamp(0) + x.clamp(max=1.0) + torch.clamp(x, -1, 1.0) + torch.where(x > 0, x, 0.0) + torch.where(x > 0, 1, x)
        r = torch.arange(3) + torch.arange(0.0, 3.0) + torch.arange(k + 1) + torch.arange(0, 3, 1, dtype=torch.float32)
        e = (x == 1).sum() + (x != x).sum() + (x < 2).sum() + torch.eq(x, 1.0).sum() + int(k == 2.0) + int(k < 2.5) + int("a" < "b")
        f = 2 * k + 2.0 * k + k / 2 + k // 2 + k % 2 + k**2 + k**-1 + (k + 0.5) // 1 + divmod(k, 2)[0] + float(k) + (k - 0.5)
        q = torch.quantize_per_tensor(x, 0.1, k, torch.quint8).dequantize() + torch.quantize_per_tensor(x, torch.tensor(0.1), torch.tensor(3), torch.quint8).dequantize()
        h = torch.cat([x, x]).sum() + torch.cat((x, x), dim=1).sum() + torch.stack((x, x), 0).sum() + torch.split(x, 1)[0].sum()
        d = torch.split(x, [1, 2], dim=1)[0].sum() + x.chunk(2)[0].sum() + x.unbind()[0].sum() + torch.squeeze(x, 0).sum() + x.flatten(0, -1).sum()
        b = torch.tensor(k) + torch.tensor([k, 1]).sum() + torch.tensor([[1.0], [2.0]]).sum() + torch.tensor(True) + torch.tensor(0.5)
        return y + w.float() + u + g + a + r + q + z.sum() + p.sum() + c.sum() + s.sum() + m + t + e + f + h + d + b


@case()
def odd_calls():
    return OddCalls(), [batch(2, 3), torch.tensor([1, 0])]


class Tensors(nn.Module):
    def forward(self, x, i):
        a = x[0] + x[-1, 1] + x[:, 1].sum() + x[..., None].squeeze(-1) + x[None, 1:, ::2].sum()
        b = x[i] + x[i, 1:2] + x[:, i].sum()
        c = torch.zeros(2, 3)
        c[0] = 1
        c[1, 1:] = x[0, 1:]
        c[c > 0.5] = 7.0
        c[i] += 2
        c += x
        c *= 2
        c /= 3
        c -= 1
        d = torch.tensor([[1.0, 2.0, 3.0]]) + torch.tensor(2) + torch.ones([2, 3], dtype=torch.int32) + torch.full((2, 3), 0.5)
        e = torch.arange(3) + torch.arange(0, 3, dtype=torch.float32) + torch.arange(1, 7, 2)
        values: List[float] = x[0].tolist()
        pairs: List[List[int]] = torch.ones(2, 2, dtype=torch.int64).tolist()
        k = int(x[0, 0]) + len(values) + pairs[1][1] + x.numel() + x.dim()
        g = x.to(torch.float64).to(torch.float32) + x.to("cpu") + x.type_as(c) + x.float()
        h = x.view(-1).reshape([2, 3]).transpose(0, 1).t().permute(0, 1) + x.T.T + x.size()[0] + x.shape[1]
        if x.dtype == torch.float32 and x.device.type == "cpu" and not x.is_cuda and x.is_floating_point():
            k += 1
        m = torch.where(x > 0, x, -x) + (x >= 0).float() + (~(x > 0)).int() + x.clamp(min=0.0) + x.clamp(-1, 1)
        s, o = torch.sort(x, dim=1)
        v, w = x.max(dim=1, keepdim=True)
        return a.sum() + b.sum() + c + d + e + k + g + h + m + s + o + v + w + torch.pow(2, x) + 1 - x + 2 / (x.abs() + 1) + x // 1


@case()
def tensors():
    return Tensors(), [batch(2, 3), torch.tensor([1, 0])]


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding="same", bias=False)
        self.valid = nn.Conv2d(3, 3, 2, padding="valid", padding_mode="zeros")
        self.circular = nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(3)
        self.up = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.pool = nn.AdaptiveAvgPool2d((2, 2))
        self.drop = nn.Dropout(0.5)
        self.groups = nn.GroupNorm(1, 3)

    def forward(self, x):
        y = self.circular(self.valid(self.norm(self.conv(x))))
        y = self.drop(self.groups(self.up(y)))
        y = F.interpolate(y, size=[5, 4], mode="nearest") + F.pad(y, [0, 0, 1, 1], "constant", 0.5)[:, :, :5, :4]
        y = F.max_pool2d(y, 2) + F.avg_pool2d(y, 2, ceil_mode=False) + F.adaptive_max_pool2d(y, [2, 2])
        return F.softmax(self.pool(y).flatten(1), dim=1) + F.gelu(F.leaky_relu(y.flatten(1), 0.1)[:, :12])


@case()
def functional():
    return seeded(Functional), [batch(1, 2, 5, 4)]


class Globals(nn.Module):
    __constants__ = ["scale", "names", "flag", "maybe", "nested", "dtype"]

    def __init__(self):
        super().__init__()
        self.scale = 0.1
        self.names = ["a", "b"]
        self.flag = True
        self.maybe: Optional[int] = None
        self.nested = ((1, 2.0), "x")
        self.dtype = torch.float32
        self.register_buffer("empty", torch.empty(0))
        self.register_buffer("small", batch(3).half())
        self.register_buffer("brain", batch(3).bfloat16())
        self.register_buffer("wave", torch.complex(batch(3), -batch(3)))
        self.register_buffer("bits", batch(3) > 0)
        self.register_buffer("octets", torch.arange(3, dtype=torch.uint8))
        self.register_buffer("shorts", torch.arange(3, dtype=torch.int16))
        self.register_buffer("chars", torch.arange(3, dtype=torch.int8))
        self.register_buffer("longs", torch.tensor(5))
        self.register_buffer("wides", batch(3).double())
        self.register_buffer("last", batch(1, 2, 2, 3).to(memory_format=torch.channels_last))
        self.register_buffer("view", batch(4, 3)[1:, ::2])
        self.register_buffer("same", self.view)
        self.register_buffer("expanded", batch(1).expand(3))
        self.register_buffer("codes", torch.quantize_per_tensor(batch(3), 0.1, 3, torch.quint8))
        self.register_buffer("wide", torch.quantize_per_tensor(batch(3), 0.001, 0, torch.qint32))
        channel = torch.quantize_per_channel(batch(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 1]), 0, torch.qint8)
        self.register_buffer("channel", channel)

    def forward(self, x):
        y = x.to(self.dtype) * self.scale + len(self.names) + int(self.flag) + self.nested[0][1]
        if self.maybe is not None:
            y = y + 1
        y = y + self.small.float() + self.brain.float() + self.bits.float() + self.octets.float()
        y = y + self.shorts + self.chars + self.longs + self.wides.float() + self.last.sum() + self.view.sum() + self.same.sum()
        y = y + self.expanded + self.codes.dequantize() + self.wide.dequantize() + self.channel.dequantize()[1] + self.empty.numel()
        return y


@case()
def attributes():
    return Globals(), [batch(2, 3)]


class Exported(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.calls = 0
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, x, scale: float = 2.0, shift: int = 1):
        self.calls += 1
        self.seen.add_(x.sum(0))
        self.seen = self.seen * 1.0
        return self.fc(x) * scale + shift + self.seen + self.calls

    @torch.jit.export
    def other(self, x, flag: bool = True) -> Tensor:
        if flag:
            return self.fc(x)
        return self.forward(x, 3.0, shift=2)

    @torch.jit.unused
    def never(self, x):
        return [i for i in (1, "a")]


@case(preserved=["other"])
def exported_methods():
    return seeded(Exported), [batch(2, 3)]


class Hooked(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ReLU()
        self.inner.register_forward_pre_hook(before)
        self.inner.register_forward_hook(after)

    def forward(self, x):
        return self.inner(x)


def before(self, input: Tuple[Tensor]) -> Tuple[Tensor]:
    return (input[0] - 0.5,)


def after(self, input: Tuple[Tensor], output: Tensor) -> Tensor:
    return output * 2


@case()
def hooks():
    return Hooked(), [batch(2, 3)]


@case()
def traced():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    torch.manual_seed(3)
    return torch.jit.trace(net, batch(1, 2, 4, 4)), [batch(1, 2, 4, 4)]


@case()
def frozen():
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).eval()
    return torch.jit.freeze(torch.jit.script(seeded(lambda: net))), [batch(1, 2, 4, 4)]


class Complexes(nn.Module):
    def forward(self, x):
        z = torch.complex(x, -x)
        w = z * (1.0 - 2.0j) + torch.view_as_complex(torch.stack([x, x], -1))
        return torch.view_as_real(w).sum(-1) + w.real + w.imag + w.abs()


@case(compute=False)
def complex_tensors():
    return Complexes(), [batch(2, 3)]


# --- what PyTorch quantized by itself ---


def eager(net, *shape):
    """A network of eager mode, quantized: its modules restore themselves by `__setstate__`."""
    torch.manual_seed(3)
    net = torch.ao.quantization.QuantWrapper(net).eval()
    net.qconfig = torch.ao.quantization.default_qconfig
    for part in net.modules():
        if isinstance(part, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            part.qconfig = torch.ao.quantization.default_qconfig
        elif hasattr(part, "weight"):
            part.qconfig = get_default_qconfig("fbgemm")
    torch.ao.quantization.prepare(net, inplace=True)
    net(batch(*shape))
    torch.ao.quantization.convert(net, inplace=True)
    return net, [batch(*shape)]


@case()
def eager_conv():
    return eager(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(4, 3, 1)), 1, 2, 4, 4)


@case()
def eager_conv1d():
    return eager(nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, bias=False), nn.ReLU(), nn.Conv1d(4, 3, 1)), 1, 2, 9)


@case()
def eager_conv3d():
    return eager(nn.Sequential(nn.Conv3d(2, 4, 2), nn.ReLU()), 1, 2, 3, 3, 3)


@case()
def eager_linear():
    return eager(nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.LayerNorm(4), nn.Hardswish(), nn.Linear(4, 3, bias=False)), 2, 6)


@case()
def eager_conv_transpose():
    return eager(nn.Sequential(nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), nn.ReLU()), 1, 2, 3, 3)


class Arithmetic(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.f = torch.ao.nn.quantized.FloatFunctional()
        self.g = torch.ao.nn.quantized.FloatFunctional()
        self.h = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        y = self.f.add(self.conv(x), x)
        y = self.g.cat([y, x], 1)
        return self.h.mul_scalar(y, 0.5)


@case()
def eager_functional():
    return eager(Arithmetic(), 1, 2, 3, 3)


class DynamicNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        y, _ = self.lstm(x)
        return self.fc(y)


def eager_dynamic(net, dtype, *shape):
    """A network whose linear and recurrent modules were replaced by dynamically quantized ones."""
    net = seeded(net).eval()
    parts = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    return torch.ao.quantization.quantize_dynamic(net, parts, dtype=dtype), [batch(*shape)]


@case(dynamic=True)
def eager_dynamic_lstm():
    return eager_dynamic(DynamicNet, torch.qint8, 2, 3, 4)


@case(dynamic=True)
def eager_dynamic_lstm_fp16():
    return eager_dynamic(DynamicNet, torch.float16, 2, 3, 4)


class Cells(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 3)
        self.cell = nn.LSTMCell(3, 2)
        self.rnn = nn.RNNCell(2, 2)

    def forward(self, x):
        y, _ = self.gru(x)
        h, c = self.cell(y[0])
        return self.rnn(h + c)


@case(dynamic=True)
def eager_dynamic_cells():
    return eager_dynamic(Cells, torch.qint8, 2, 3, 4)


class Tables(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(10, 4, mode="sum")
        self.rows = nn.Embedding(10, 4)

    def forward(self, indices, offsets):
        return self.bag(indices, offsets) + self.rows(indices).sum(0)


@case()
def eager_embedding():
    net = seeded(Tables).eval()
    weights = torch.ao.quantization
    net.bag.qconfig = weights.float_qparams_weight_only_qconfig
    net.rows.qconfig = weights.float_qparams_weight_only_qconfig
    weights.prepare(net, inplace=True)
    weights.convert(net, inplace=True)
    return net, [torch.tensor([1, 2, 4, 5, 4, 3]), torch.tensor([0, 3])]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.up = nn.ConvTranspose2d(3, 2, 2, stride=2)
        self.fc = nn.Linear(2, 3)

    def forward(self, x):
        y = self.up(F.relu(self.conv(x)))
        return self.fc(y.mean([2, 3]))


def finalized(net, inputs, **options):
    """A module that PyTorch has finalized: packed weights are attributes."""
    return reference.finalize(reference.quantize(seeded(net).eval(), inputs, **options)), inputs


@case()
def finalized_static():
    return finalized(Small, [batch(1, 2, 4, 4)], qconfig=torch.ao.quantization.default_qconfig)


def dynamic(net, qconfig, finalize):
    """A scripted module with dynamically quantized linear layers, finalized by PyTorch or not."""
    module = torch.jit.script(seeded(net).eval())
    prepared = prepare_dynamic_jit(module, {"": qconfig})
    if not finalize:
        return convert_dynamic_jit(prepared, debug=True)
    return convert_dynamic_jit(prepared)


@case(dynamic=True)
def finalized_dynamic():
    return dynamic(Fork, default_dynamic_qconfig, True), [batch(2, 4)]


@case(dynamic=True)
def finalized_fp16():
    return dynamic(Fork, float16_dynamic_qconfig, True), [batch(2, 4)]


@case(dynamic=True)
def fork_wait_dynamic():
    return dynamic(Fork, default_dynamic_qconfig, False), [batch(2, 4)]


@case(dynamic=True)
def iface_attr_dynamic():
    return dynamic(Interfaces, default_dynamic_qconfig, False), [batch(2, 4)]


def on_device(finalize):
    """The on-device variant: the module quantizes itself when it is first used."""
    module = torch.jit.script(seeded(lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))).eval())
    qconfig = {"": torch.ao.quantization.per_channel_dynamic_qconfig}
    prepared = _prepare_ondevice_dynamic_jit(module, qconfig)
    return _convert_ondevice_dynamic_jit(prepared, method_name="forward", debug=not finalize)


@case(dynamic=True)
def on_device_before():
    return on_device(False), [batch(2, 4)]


@case(dynamic=True)
def on_device_packed():
    return on_device(True), [batch(2, 4)]


# --- format versions ---


class Old(nn.Module):
    def forward(self, x):
        n = x.to(torch.int64)
        y = torch.div(n, 2) + torch.true_divide(n, 4) + x / 3
        y = y + torch.div(n, n + 5) + torch.floor_divide(x, 2)
        z = x.clone()
        z.div_(3)
        y = y + z
        y = y + torch.full([2, 3], 7).to(torch.float32) + torch.full([2, 3], 0.5)
        y = y + torch.linspace(0, 1, 3) + torch.logspace(0, 1, 3, 2.0)
        return F.gelu(y) + 7 / 2 + 7.0 / 2


for number in (3, 4, 5, 8, 9, 10):
    CASES[f"version_{number}"] = (lambda: (Old(), [batch(2, 3) * 4]), {"version": number})


# --- command line ---


def main():
    """Parses the command line and makes the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the cases")
    parser.add_argument("--only", nargs="*", default=[], help="make these cases only")
    args = parser.parse_args()
    reference.use_engine()
    for name, (make, options) in CASES.items():
        if args.only and name not in args.only:
            continue
        folder = args.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            write(folder, make, **options)
        except Exception as error:  # noqa: BLE001: every case is tried
            print(f"{name}: not made: {error}", file=sys.stderr)
            shutil.rmtree(folder)


def write(folder, make, version=None, quantize=False, dynamic=False, preserved=(), compute=True):
    """Makes one case; without `compute` it has graphs only."""
    torch.manual_seed(3)
    module, inputs = make()
    module.eval()
    if quantize:
        module = reference.quantize(module, [tuple(inputs)] if len(inputs) > 1 else inputs)
    elif not isinstance(module, torch.jit.ScriptModule):
        module = torch.jit.script(module)
    path = folder / "before.pt"
    reference.save(module, path)
    if version is not None:
        set_version(path, version)
    loaded = torch.jit.load(path)
    (folder / "before.ir").write_text("\n".join(graphs(loaded)))
    meta = {"name": folder.name, "qt": "dynamic" if dynamic else "static", "preserved": list(preserved)}
    tensors = {f"input.{at}": tensor.contiguous() for at, tensor in enumerate(inputs)}
    if compute:
        tensors |= outputs("before", torch.jit.load(path), inputs)
    try:
        finalized = torch.jit.load(path)
        finalized = torch._C._jit_pass_quant_finalize(finalized._c, 0 if dynamic else 1, list(preserved))
        finalized = torch.jit._recursive.wrap_cpp_module(finalized)
        (folder / "after.ir").write_text("\n".join(graphs(finalized)))
        if compute:
            tensors |= outputs("after_fbgemm", finalized, inputs)
    except RuntimeError as error:
        meta["finalize_error"] = str(error).strip().splitlines()[-1]
    save_file(tensors, folder / "tensors.safetensors")
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def outputs(name, module, inputs):
    """What `forward` gives, as named tensors."""
    with torch.no_grad(), torch.jit.optimized_execution(False):
        result = module(*[tensor.clone() for tensor in inputs])
    if isinstance(result, Tensor):
        return {name: plain(result)}
    return {f"{name}{at}": plain(tensor) for at, tensor in enumerate(result)}


def plain(tensor):
    """A tensor that safetensors can hold."""
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    return tensor.detach().contiguous().clone()


def graphs(module):
    """The graphs of every method of every module, as text; each operator with its overload in a comment."""
    for path, part in module.named_modules():
        for method in sorted(part._c._method_names()):
            graph = part._c._get_method(method).graph
            overloads = list(overloads_of(graph))
            lines = [line.split(" # ")[0].rstrip() for line in str(graph).splitlines()]
            # The bodies of forks are printed behind the graph.
            nodes = [at for at, line in enumerate(lines) if NODE.match(line)][: len(overloads)]
            for at, (name, overload) in zip(nodes, overloads):
                assert f"= {name}" in lines[at], lines[at]
                if overload is not None:
                    lines[at] += f" # @overload={overload or 'default'}"
            yield f"# module {path or '<root>'} type {part._c.qualified_name} method {method}\n" + "\n".join(lines) + "\n"


def overloads_of(block):
    """The operators of a graph or block with their overloads, in the order in which they are printed."""
    for node in block.nodes():
        schema = node.schema()
        yield node.kind(), schema.split("(")[0].partition(".")[2] if schema != "(no schema)" else None
        for inner in node.blocks():
            yield from overloads_of(inner)


def set_version(path, version):
    """Writes another format version into an archive."""
    with zipfile.ZipFile(path) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in files:
            if info.filename.endswith(("/version", "/.data/version")):
                data = f"{version}\n".encode()
            archive.writestr(zipfile.ZipInfo(info.filename), data)


if __name__ == "__main__":
    main()
