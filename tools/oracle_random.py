"""Networks of layers drawn by lot, for `oracle.py --random`: combinations that no table thinks of."""

import random

import torch
from torch import nn

import oracle_cases
from oracle_cases import Case, warmed

CONFIGS = ("pt7", "pt8", "pc7", "pc8", "x86", "fbgemm", "qnnpack", "onednn")
DYNAMIC = ("dyn", "dyn_pc", "fp16")
CHANNELS = 4


def case(seed, at):
    """The case number `at` of a seed: a network that keeps its size, one that shrinks to a few classes, or linear maps quantized on the fly."""
    name = f"random_{seed}_{at}"
    lot = random.Random(name)
    kind = lot.choice(("image", "image", "image", "tower", "tower", "rows", "dynamic"))
    mode = lot.choice(("script", "script", "trace"))
    if kind == "image":
        shape = (lot.choice((1, 2, 3)), CHANNELS, lot.randrange(6, 13), lot.randrange(6, 13))
        return Case(name, lambda: network(random.Random(name), IMAGE), (shape,), lot.choice(CONFIGS), mode=mode)
    if kind == "tower":
        rank = lot.choice((1, 2, 2, 2, 3))
        shape = (lot.choice((1, 2)), lot.choice((1, 3, 4)), *(lot.randrange(12, 20) if rank < 3 else lot.randrange(6, 9) for _ in range(rank)))
        return Case(name, lambda: tower(random.Random(name), rank, shape[1]), (shape,), lot.choice(CONFIGS), mode=mode)
    if kind == "rows":
        shape = (lot.randrange(1, 5), 8)
        return Case(name, lambda: network(random.Random(name), ROWS), (shape,), lot.choice(CONFIGS), mode=mode)
    shape = lot.choice(((3, 8), (2, 3, 8)))
    net = lambda: network(random.Random(name), ROWS_DYNAMIC)
    return Case(name, net, (shape,), lot.choice(DYNAMIC), "dynamic", mode=mode)


def network(lot, steps):
    """A module of three to nine steps. Each reads one or two of the values so far, which all have one shape."""
    parts, lines, values = {}, [], ["x"]
    for at in range(lot.randrange(3, 10)):
        line = lot.choice(steps)
        # Mostly the last value, so that chains come about; now and then an older one, so that it has several readers.
        fill = {
            "x": values[-1] if lot.random() < 0.8 else lot.choice(values),
            "y": lot.choice(values),
            "n": lot.choice(("2", "3", "0.5", "-1", "1.5")),
        }
        for name, make in PARTS.items():
            if f"{{{name}}}" in line:
                part = f"p{at}_{name}"
                parts[part] = make(lot)
                fill[name] = f"s.{part}"
        lines.append(f"v{at} = {line.format(**fill)}")
        values.append(f"v{at}")
        # In place, only what no other step reads.
        if lot.random() < 0.1 and lines[-1].count("s.p"):
            lines.append(lot.choice((f"v{at} = F.relu(v{at}, inplace=True)", f"v{at} = v{at}.relu_()", f"v{at} += 1")))
    end = lot.choice(("{0}", "{0}", "{0}.flatten(1)", "{0}.mean(-1)", "torch.cat([{0}, {1}], 1)", "F.relu({0} + {1})"))
    lines.append("return " + end.format(values[-1], lot.choice(values)))
    return oracle_cases.written("\n".join(lines), **parts)


class Added(nn.Module):
    """A branch and what it is added to."""

    def __init__(s, branch, way):
        super().__init__()
        s.branch, s.way, s.act = branch, way, nn.ReLU()

    def forward(s, x):
        return s.act(s.branch(x) + s.way(x))


class Joined(Added):
    """A branch and what stands beside it."""

    def forward(s, x):
        return torch.cat([s.branch(x), s.way(x)], 1)


def tower(lot, rank, channels):
    """Layers that shrink a signal, an image or a volume, and a linear map of what is left."""
    kinds = oracle_cases.CONV[rank]
    norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[rank]
    most, mean = {
        1: (nn.MaxPool1d, nn.AvgPool1d),
        2: (nn.MaxPool2d, nn.AvgPool2d),
        3: (nn.MaxPool3d, nn.AvgPool3d),
    }[rank]
    one = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[rank]
    normed = lambda to: [warmed(norm(to))] if lot.random() < 0.4 else []

    def layer(width, to, kernel, stride=1):
        groups = lot.choice((1, 1, width)) if to == width else 1
        made = [kinds(width, to, kernel, stride, kernel // 2, groups=groups, bias=lot.random() < 0.6)]
        return made + normed(to) + ([PARTS["act"](lot)] if lot.random() < 0.8 else [])

    layers, width = [], channels
    for _ in range(lot.randrange(2, 5)):
        to = lot.choice((4, 6, 8, 16))
        step = lot.choice(("plain", "stride", "pool", "add", "join", "act"))
        if step in ("plain", "stride"):
            layers += layer(width, to, lot.choice((1, 3, 3, 5)), 2 if step == "stride" else 1)
        elif step == "pool":
            layers += layer(width, to, 3) + [lot.choice((most, mean))(lot.choice((2, 3)), 2, lot.choice((0, 1)))]
        elif step == "act":
            layers += layer(width, to, 1) + [PARTS["act"](lot)]
        else:
            branch = nn.Sequential(*layer(width, to, 3), *layer(to, to, lot.choice((1, 3))))
            layers.append((Joined if step == "join" else Added)(branch, nn.Sequential(*layer(width, to, 1))))
            to *= 2 if step == "join" else 1
        width = to
    head = lot.choice(("mean", "mean", "flat", "none"))
    if head == "mean":
        layers += [one(1), nn.Flatten(), nn.Linear(width, 5)]
    if head == "flat":
        layers += [one(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(width * 2**rank, 5), lot.choice((nn.Softmax(1), nn.ReLU()))]
    return nn.Sequential(*layers)


def conv(lot):
    """A convolution that keeps the size."""
    kernel, dilation = lot.choice(((1, 1), (3, 1), (3, 2), (5, 1)))
    groups = lot.choice((1, 1, 2, CHANNELS))
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(
        CHANNELS, CHANNELS, kernel, 1, padding, dilation, groups, bias=lot.random() < 0.7,
        padding_mode=lot.choice(("zeros", "zeros", "zeros", "reflect")),
    )


PARTS = {
    "conv": conv,
    "linear": lambda lot: nn.Linear(8, 8, bias=lot.random() < 0.7),
    "bn": lambda lot: warmed(nn.BatchNorm2d(CHANNELS)),
    "bn1": lambda lot: warmed(nn.BatchNorm1d(8)),
    "norm": lambda lot: lot.choice((nn.GroupNorm(2, CHANNELS), nn.InstanceNorm2d(CHANNELS, affine=True))),
    "ln": lambda lot: nn.LayerNorm(8),
    "prelu": lambda lot: nn.PReLU(lot.choice((1, CHANNELS))),
    "t": lambda lot: torch.randn(1, CHANNELS, 1, 1),
    "row": lambda lot: torch.randn(8),
    "part": lambda lot: nn.Sequential(conv(lot), nn.ReLU(lot.random() < 0.5)),
    "act": lambda lot: lot.choice(
        (nn.ReLU(), nn.ReLU6(), nn.Hardswish(), nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.LeakyReLU(0.1), nn.Hardsigmoid(),
         nn.Hardtanh(-1.0, 1.5), nn.SiLU(), nn.GELU(), nn.Identity(), nn.Dropout(0.2), nn.Softplus(), nn.Mish())
    ),
}

ANY = (
    "{act}({x})",
    "{act}({x})",
    "F.relu({x})",
    "{x} + {y}",
    "F.relu({x} + {y})",
    "torch.add({x}, {y})",
    "{x} * {y}",
    "{x} + {n}",
    "{x} * {n}",
    "{n} - {x}",
    "torch.clamp({x}, -0.5, 0.8)",
    "torch.sigmoid({x}) * {y}",
    "F.dropout({x}, 0.3, s.training)",
    "{x}.clone()",
    "{x}.detach()",
    "torch.cat([{x}, {y}], 0)[: {x}.size(0)]",
    "torch.stack([{x}, {y}], 0)[1]",
    "torch.where({x} > 0, {x}, {y})",
    "F.softmax({x}, -1)",
    "{x}.reshape({x}.size(0), -1).view({x}.shape)",
    "{x}.transpose(0, 1).contiguous().transpose(0, 1)",
    "{x}.flip([1])",
)
IMAGE = (
    *("{conv}({x})",) * 6,
    *("{part}({x})",) * 3,
    *("F.relu({conv}({x}))",) * 3,
    "{bn}({x})",
    "F.relu({bn}({x}))",
    "{norm}({x})",
    "{prelu}({x})",
    "{x} + {t}",
    "{x} * {t}",
    "F.max_pool2d({x}, 3, 1, 1)",
    "F.avg_pool2d({x}, 3, 1, 1)",
    "F.interpolate(F.max_pool2d({x}, 2), size={x}.shape[2:])",
    "F.interpolate({x}, size={x}.shape[2:], mode='bilinear', align_corners=True)",
    "{x} * torch.sigmoid({conv}(F.adaptive_avg_pool2d({x}, 1)))",
    "{x} * {x}.mean([2, 3], keepdim=True)",
    "torch.cat({x}.chunk(2, 1)[::-1], 1)",
    "torch.cat([{x}[:, :2], {y}[:, 2:]], 1)",
    "F.pad({x}, [1, 1, 1, 1])[:, :, 1:-1, 1:-1]",
    "F.pixel_unshuffle(F.pixel_shuffle({x}, 2), 2)",
    "F.channel_shuffle({x}, 2)",
    "{x}.permute(0, 2, 3, 1).permute(0, 3, 1, 2)",
    *ANY,
)
ROWS = (
    *("{linear}({x})",) * 5,
    *("F.relu({linear}({x}))",) * 3,
    "{ln}({x})",
    "{bn1}({x})",
    "{x} + {row}",
    "{x} * {row}",
    "torch.cat({x}.chunk(2, -1)[::-1], -1)",
    "{x}.unsqueeze(1).squeeze(1)",
    *ANY,
)
ROWS_DYNAMIC = tuple(line for line in ROWS if "bn1" not in line)
