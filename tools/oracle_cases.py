"""The modules that `oracle.py` makes cases of.

A case is a name, a module and the shapes of its inputs. Most modules are a line of a table: submodules and the text of `forward`,
which `written` makes a class of, so that TorchScript finds its source.
"""

import dataclasses
import linecache
from collections.abc import Callable

import torch
from torch import nn

import oracle_modules as modules

IMAGE, LINE, VOLUME, ROW = (2, 4, 7, 6), (2, 4, 9), (2, 4, 5, 4, 6), (3, 5)
CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
SHAPE = {1: LINE, 2: IMAGE, 3: VOLUME}
STATIC_CONFIGS = ("pt7", "pt8", "pc7", "pc8")


@dataclasses.dataclass
class Case:
    """One case: how to make the module, how to quantize it and what to call it with."""

    name: str
    net: Callable[[], nn.Module]
    shapes: tuple
    qconfig: str = "pt7"
    qt: str = "static"
    mode: str = "script"
    preserved: tuple = ()
    qdict: dict | None = None
    note: str = ""
    training: bool = False
    values: Callable | None = None
    # Another way from the network and its batches to the quantized module than `quantize_jit`.
    way: Callable | None = None
    # What becomes of the archive once it is written.
    repack: Callable | None = None

    def inputs(self):
        """Fresh inputs."""
        return self.values() if self.values else tuple(torch.randn(shape) for shape in self.shapes)


def every():
    """Every case, by name; names are unique."""
    families = (
        convolutions,
        transposed,
        linears,
        operators,
        fixed_ranges,
        additions,
        scalars,
        joins,
        functions,
        moved,
        flows,
        blocks,
        dynamic,
        embeddings,
        frozen,
        refused,
    )
    cases = [case for family in families for case in family()]
    names = [case.name for case in cases]
    assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]
    return sorted(cases, key=lambda case: case.name)


def written(forward, args="x", returns="Tensor", **parts):
    """A module with these submodules, tensors and plain values, whose `forward` is this text."""
    lines = [f"    def forward(s, {args}) -> {returns}:"] + ["        " + line for line in forward.strip().split("\n")]
    text = "class Written(torch.nn.Module):\n" + "\n".join(lines) + "\n"
    file = f"<written {len(linecache.cache)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    scope = {"torch": torch, "F": nn.functional, "__name__": "cases", **modules.TYPES}
    exec(compile(text, file, "exec"), scope)
    net = scope["Written"]()
    for name, part in parts.items():
        if isinstance(part, torch.Tensor) and not isinstance(part, nn.Parameter):
            net.register_buffer(name, part)
        else:
            setattr(net, name, part)
    return net


def conv(channels=4, to=4, kernel=3, **options):
    """A convolution of images."""
    return nn.Conv2d(channels, to, kernel, **options)


def convolutions():
    """Convolutions of each rank with every option and what may follow."""
    for rank in (1, 2, 3):

        def make(*after, rank=rank, channels=4, to=6, kernel=3, **options):
            return lambda: nn.Sequential(CONV[rank](channels, to, kernel, **options), *[part() for part in after])

        shape = (SHAPE[rank],)
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[rank]
        name = f"conv{rank}d"
        for config in STATIC_CONFIGS:
            yield Case(f"{name}_{config}", make(), shape, config)
            yield Case(f"{name}_relu_{config}", make(nn.ReLU), shape, config)
        yield Case(f"{name}_full8", make(), shape, "pc8")
        yield Case(f"{name}_traced", make(nn.ReLU), shape, "pc7", mode="trace")
        yield Case(f"{name}_traced_plain", make(), shape, "pt7", mode="trace")
        yield Case(f"{name}_relu_inplace", make(lambda: nn.ReLU(True)), shape)
        yield Case(f"{name}_frelu", written_conv(rank, "return F.relu(s.c(x))"), shape)
        yield Case(f"{name}_frelu_inplace", written_conv(rank, "return F.relu(s.c(x), inplace=True)"), shape)
        yield Case(f"{name}_relu_method", written_conv(rank, "return s.c(x).relu()"), shape, "pc7")
        yield Case(f"{name}_relu_method_inplace", written_conv(rank, "return s.c(x).relu_()"), shape, "pc7")
        yield Case(f"{name}_groups", make(groups=2), shape, "pc7")
        yield Case(f"{name}_groups4_relu", make(nn.ReLU, to=8, groups=4), shape, "pc7")
        yield Case(f"{name}_nobias", make(bias=False), shape, "pc7")
        yield Case(f"{name}_nobias_stride_pad_dil", make(stride=2, padding=2, dilation=2, bias=False), shape, "pc7")
        yield Case(f"{name}_stride2", make(stride=2), shape, "pt7")
        yield Case(f"{name}_pad1", make(padding=1), shape, "pt7")
        yield Case(f"{name}_dil2", make(dilation=2, padding=2), shape, "pt7")
        yield Case(f"{name}_1x1", make(to=12, kernel=1), shape, "pc7")
        yield Case(f"{name}_depthwise", make(to=4, groups=4, padding=1), shape, "pc7")
        yield Case(f"{name}_depthwise_mult2", make(to=8, groups=4, padding=1), shape, "pt7")
        yield Case(f"{name}_wide", make(channels=36, to=40), ((1, 36, *SHAPE[rank][2:]),), "pc7")
        yield Case(f"{name}_bn", make(lambda norm=norm: warmed(norm(6))), shape, "pc7")
        yield Case(f"{name}_bn_relu", make(lambda norm=norm: warmed(norm(6)), nn.ReLU), shape, "pc7")
        yield Case(f"{name}_bn_traced", make(lambda norm=norm: warmed(norm(6)), nn.ReLU), shape, "pc7", mode="trace")
        yield Case(f"{name}_pad_same", make(padding="same"), shape)
        yield Case(f"{name}_pad_same_relu", make(nn.ReLU, padding="same", dilation=2), shape)
        yield Case(f"{name}_pad_same_even", make(padding="same", kernel=4), shape)
        yield Case(f"{name}_pad_same_even_traced", make(padding="same", kernel=4), shape, mode="trace")
        yield Case(f"{name}_pad_valid", make(padding="valid"), shape)
        yield Case(f"{name}_unbatched", make(), (SHAPE[rank][1:],))
        for mode in ("reflect", "replicate", "circular", "zeros"):
            yield Case(f"{name}_pad_{mode}", make(padding=1, padding_mode=mode), shape)
        yield Case(f"{name}_functional", written_conv(rank, f"return F.conv{rank}d(x, s.c.weight, s.c.bias)"), shape)
    yield Case("conv2d_asym", lambda: nn.Sequential(nn.Conv2d(4, 6, (3, 2), (1, 2), (0, 1))), (IMAGE,), "pc7")
    yield Case("conv2d_depthwise5", lambda: nn.Sequential(nn.Conv2d(8, 8, 5, 2, 2, groups=8)), ((2, 8, 9, 9),), "pc7")
    yield Case(
        "conv2d_channels_last", written_conv(2, "return s.c(x.contiguous(memory_format=torch.channels_last))"), (IMAGE,)
    )
    yield Case(
        "conv2d_chain",
        lambda: nn.Sequential(conv(), nn.ReLU(), conv(padding=1), nn.ReLU(True), conv(4, 6, 1)),
        (IMAGE,),
        "pc7",
    )
    yield Case("conv2d_big_scale", written_conv(2, "return s.c(x * 1000.0)"), (IMAGE,))
    yield Case("conv2d_zero_weight", lambda: nn.Sequential(filled(conv(), 0.0)), (IMAGE,), "pc7")
    yield Case("conv2d_zero_channel", lambda: nn.Sequential(one_zero_row(conv())), (IMAGE,), "pc7")
    for kind in ("relu", "relu_inplace", "frelu"):
        last = {
            "relu": "return s.r(s.b(s.p(s.c(x))))",
            "relu_inplace": "return s.r(s.b(s.p(s.c(x))))",
            "frelu": "return F.relu(s.b(s.p(s.c(x))))",
        }[kind]
        relu = nn.ReLU(kind == "relu_inplace")
        yield Case(
            f"bn2d_{kind}",
            lambda last=last, relu=relu: written(
                last, c=conv(), p=nn.MaxPool2d(2), b=warmed(nn.BatchNorm2d(4)), r=relu
            ),
            (IMAGE,),
        )
        yield Case(
            f"bn3d_{kind}",
            lambda last=last, relu=relu: written(
                last, c=nn.Conv3d(4, 4, 2), p=nn.MaxPool3d(2), b=warmed(nn.BatchNorm3d(4)), r=relu
            ),
            ((2, 4, 6, 6, 6),),
        )
    yield Case(
        "bn2d_frelu_inplace",
        lambda: written(
            "return F.relu(s.b(s.p(s.c(x))), inplace=True)", c=conv(), p=nn.MaxPool2d(2), b=warmed(nn.BatchNorm2d(4))
        ),
        (IMAGE,),
    )
    yield Case(
        "bn3d_frelu_inplace",
        lambda: written(
            "return F.relu(s.b(s.p(s.c(x))), inplace=True)",
            c=nn.Conv3d(4, 4, 2),
            p=nn.MaxPool3d(2),
            b=warmed(nn.BatchNorm3d(4)),
        ),
        ((2, 4, 6, 6, 6),),
    )
    for name, norm, pool, rank in (
        ("bn1d", nn.BatchNorm1d, nn.MaxPool1d, 1),
        ("bn2d", nn.BatchNorm2d, nn.MaxPool2d, 2),
        ("bn3d_plain", nn.BatchNorm3d, nn.MaxPool3d, 3),
    ):
        yield Case(
            name,
            lambda norm=norm, pool=pool, rank=rank: nn.Sequential(CONV[rank](4, 4, 2), pool(2), warmed(norm(4))),
            ((2, 4) + (8,) * rank,),
        )
        yield Case(
            f"{name}_noaffine",
            lambda norm=norm, pool=pool, rank=rank: nn.Sequential(
                CONV[rank](4, 4, 2), pool(2), warmed(norm(4, affine=False))
            ),
            ((2, 4) + (8,) * rank,),
        )
        yield Case(
            f"{name}_nostats",
            lambda norm=norm, pool=pool, rank=rank: nn.Sequential(
                CONV[rank](4, 4, 2), pool(2), norm(4, track_running_stats=False)
            ),
            ((2, 4) + (8,) * rank,),
        )
    yield Case(
        "bn2d_traced",
        lambda: nn.Sequential(conv(), nn.MaxPool2d(2), warmed(nn.BatchNorm2d(4)), nn.ReLU()),
        ((2, 4, 8, 8),),
        mode="trace",
    )
    yield Case("bn2d_first", lambda: nn.Sequential(warmed(nn.BatchNorm2d(4)), conv()), (IMAGE,))


def written_conv(rank, forward, **options):
    """A module of one convolution `c`."""
    return lambda: written(forward, c=CONV[rank](4, 6, 3, **options))


def warmed(norm):
    """A batch norm with uneven statistics, scales and shifts, as after training."""
    for value, low, high in (
        (norm.running_mean, -0.5, 0.5),
        (norm.running_var, 0.5, 2.0),
        (norm.weight, 0.5, 1.5),
        (norm.bias, -0.3, 0.3),
    ):
        if value is not None:
            nn.init.uniform_(value, low, high)
    return norm


def filled(layer, value):
    """A layer whose weights are all the same."""
    nn.init.constant_(layer.weight, value)
    return layer


def one_zero_row(layer):
    """A layer with one channel of zeros: its scale is the smallest that there is."""
    with torch.no_grad():
        layer.weight[1] = 0
    return layer


def transposed():
    """Transposed convolutions; per channel PyTorch refuses them when they are packed."""
    for rank in (1, 2, 3):

        def make(*after, rank=rank, channels=4, to=6, kernel=3, **options):
            return lambda: nn.Sequential(TRANSPOSED[rank](channels, to, kernel, **options), *[part() for part in after])

        name, shape = f"conv_transpose{rank}d", ((2, 4, 6, 5)[: rank + 2] if rank < 3 else (2, 4, 4, 4, 4),)
        for config in ("pt7", "pt8"):
            yield Case(f"{name}_{config}", make(), shape, config)
        yield Case(name, make(), shape, "pt8")
        yield Case(f"{name}_traced", make(), shape, "pt8", mode="trace")
        yield Case(f"{name}_nobias", make(bias=False), shape, "pt8")
        yield Case(f"{name}_relu", make(nn.ReLU), shape, "pt8")
        yield Case(f"{name}_opts", make(stride=2, padding=1, output_padding=1, dilation=2), shape, "pt8")
        yield Case(f"{name}_stride2", make(stride=2), shape, "pt7")
        yield Case(f"{name}_groups", make(groups=2), shape, "pt8")
        yield Case(f"{name}_k2s2", make(to=4, kernel=2, stride=2), shape, "pt7")
        yield Case(f"{name}_1x1", make(channels=8, to=8, kernel=1), ((1, 8, *shape[0][2:]),), "pt7")
        yield Case(f"{name}_c16", make(channels=16, to=16), ((1, 16, *shape[0][2:]),), "pt7")
        yield Case(f"{name}_c16_k2s2", make(channels=16, to=16, kernel=2, stride=2), ((1, 16, *shape[0][2:]),), "pt7")
        yield Case(f"{name}_perchannel", make(), shape, "pc7")
        yield Case(f"{name}_depthwise", make(to=4, groups=4), shape, "pt8")
        yield Case(
            f"{name}_output_size",
            lambda rank=rank, shape=shape[0]: written(
                f"return s.t(x, {[2 * size for size in shape[2:]]})", t=TRANSPOSED[rank](4, 4, 3, 2, 1)
            ),
            shape,
            "pt8",
        )
    yield Case(
        "conv_transpose2d_then_conv",
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 4, 3), nn.ReLU(), conv()),
        ((2, 4, 6, 5),),
        "pt7",
    )
    yield Case(
        "conv_transpose2d_asym",
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, (3, 2), (1, 2), (1, 0))),
        ((2, 4, 6, 5),),
        "pt7",
    )


def linears():
    """Linear layers."""

    def make(*after, k=5, to=6, **options):
        return lambda: nn.Sequential(nn.Linear(k, to, **options), *[part() for part in after])

    for config in STATIC_CONFIGS:
        yield Case(f"linear_{config}", make(), (ROW,), config)
        yield Case(f"linear_relu_{config}", make(nn.ReLU), (ROW,), config)
    yield Case("linear_traced", make(), (ROW,), mode="trace")
    yield Case("linear_relu_traced", make(nn.ReLU), (ROW,), "pc7", mode="trace")
    yield Case("linear_relu_inplace", make(lambda: nn.ReLU(True)), (ROW,))
    yield Case("linear_nobias", make(bias=False), (ROW,))
    yield Case("linear_nobias_relu", make(nn.ReLU, bias=False), (ROW,), "pc7")
    yield Case("linear_1d_input", make(), ((5,),))
    yield Case("linear_1d_input_relu", make(nn.ReLU), ((5,),), "pc7")
    yield Case("linear_3d_input", make(nn.ReLU), ((2, 3, 5),))
    yield Case("linear_4d_input", make(), ((2, 3, 2, 5),), "pc7")
    yield Case("linear_bn1d", make(lambda: warmed(nn.BatchNorm1d(6))), (ROW,))
    yield Case("linear_bn1d_relu", make(lambda: warmed(nn.BatchNorm1d(6)), nn.ReLU), (ROW,))
    yield Case("linear_dropout", make(lambda: nn.Dropout(0.3), nn.ReLU), (ROW,))
    yield Case("linear_k_large", make(k=256, to=8), ((4, 256),), "pc7")
    yield Case("linear_k_large_relu", make(nn.ReLU, k=300, to=17), ((4, 300),), "pt7")
    yield Case(
        "linear_k_large_sat",
        make(k=256, to=8),
        ((4, 256),),
        "pc8",
        note="full 8-bit range: saturates on vpmaddubsw machines",
    )
    yield Case("linear_one_output", make(to=1), (ROW,))
    yield Case("linear_wide", make(k=33, to=65), ((1, 33),), "pc7")
    yield Case(
        "linear_mlp",
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.Tanh()),
        (ROW,),
        "pc7",
    )
    weight = lambda: nn.Parameter(torch.randn(6, 5) / 2)
    bias = lambda: nn.Parameter(torch.randn(6))
    for mode in ("script", "trace"):
        tail = "_traced" if mode == "trace" else ""
        yield Case(
            f"linear_functional{tail}",
            lambda: written("return F.linear(x, s.w, s.b)", w=weight(), b=bias()),
            (ROW,),
            mode=mode,
        )
        yield Case(
            f"linear_functional_nobias{tail}", lambda: written("return F.linear(x, s.w)", w=weight()), (ROW,), mode=mode
        )
        yield Case(
            f"linear_functional_relu{tail}",
            lambda: written("return F.relu(F.linear(x, s.w, s.b))", w=weight(), b=bias()),
            (ROW,),
            mode=mode,
        )
        yield Case(
            f"addmm{tail}",
            lambda: written("return torch.addmm(s.b, x, s.w.t())", w=weight(), b=bias()),
            (ROW,),
            mode=mode,
        )
        yield Case(f"matmul{tail}", lambda: written("return torch.matmul(x, s.w.t())", w=weight()), (ROW,), mode=mode)
        yield Case(
            f"matmul_add{tail}",
            lambda: written("return torch.matmul(x, s.w.t()) + s.b", w=weight(), b=bias()),
            (ROW,),
            mode=mode,
        )
        yield Case(
            f"matmul_two_inputs{tail}", lambda: written("return torch.matmul(x, y)", "x, y"), (ROW, (5, 4)), mode=mode
        )
        yield Case(
            f"bmm{tail}",
            lambda: written("return torch.bmm(s.l(x), y)", "x, y", l=nn.Linear(5, 5)),
            ((2, 3, 5), (2, 5, 4)),
            mode=mode,
        )
    yield Case(
        "linear_same_weight_twice",
        lambda: written(
            "return F.linear(F.linear(x, s.w, s.b), s.w, s.b)",
            w=nn.Parameter(torch.randn(5, 5)),
            b=nn.Parameter(torch.randn(5)),
        ),
        (ROW,),
    )


def operators():
    """One operator after a convolution (`op_*`), and between two (`mid_*`)."""
    for name, (op, rank) in modules.OPERATORS.items():

        def one(op=op, rank=rank):
            return written("return s.op(s.c(x))", c=CONV[rank](4, 4, 3), op=op())

        yield Case(f"op_{name}", one, (SHAPE[rank],))
        if name in modules.TRACED:
            yield Case(f"op_{name}_traced", one, (SHAPE[rank],), "pc7", mode="trace")
        if name in modules.BETWEEN:

            def between(op=op, rank=rank, to=4 if name != "pixel_shuffle" else 1):
                return written("return s.c2(s.op(s.c(x)))", c=CONV[rank](4, 4, 3), op=op(), c2=CONV[rank](to, 4, 1))

            yield Case(f"mid_{name}", between, (SHAPE[rank],), "pc7")
    yield Case(
        "instance_norm_running_stats",
        lambda: nn.Sequential(conv(), warmed(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))),
        (IMAGE,),
        note="eval mode uses running stats; quantized::instance_norm cannot",
    )
    yield Case(
        "instance_norm_running_stats_noaffine",
        lambda: nn.Sequential(conv(), warmed(nn.InstanceNorm2d(4, track_running_stats=True))),
        (IMAGE,),
    )
    yield Case(
        "instance_norm3d_running_stats",
        lambda: nn.Sequential(nn.Conv3d(4, 4, 2), warmed(nn.InstanceNorm3d(4, track_running_stats=True))),
        (VOLUME,),
    )
    yield Case(
        "instance_norm_running_stats_traced",
        lambda: nn.Sequential(conv(), warmed(nn.InstanceNorm2d(4, affine=True, track_running_stats=True))),
        (IMAGE,),
        mode="trace",
    )


def fixed_ranges():
    """Operators with fixed scales, twice in a graph: their constants are shared after loading."""
    for name, op in {"sigmoids": "torch.sigmoid", "tanhs": "torch.tanh", "hardsigmoids": "F.hardsigmoid"}.items():
        yield Case(
            f"two_{name}_chain",
            lambda op=op: written(f"return {op}(s.b({op}(s.a(x))))", a=conv(padding=1), b=conv(padding=1)),
            (IMAGE,),
        )
        yield Case(
            f"two_{name}_cat",
            lambda op=op: written(f"x = s.a(x)\nreturn torch.cat([{op}(x), {op}(x)], 1)", a=conv()),
            (IMAGE,),
        )
        yield Case(
            f"two_{name}_cat_other",
            lambda op=op: written(f"return torch.cat([{op}(s.a(x)), {op}(s.b(x))], 1)", a=conv(), b=conv()),
            (IMAGE,),
        )
        yield Case(
            f"two_{name}_mul",
            lambda op=op: written(f"return {op}(s.a(x)) * {op}(s.b(x))", a=conv(), b=conv()),
            (IMAGE,),
        )
        yield Case(f"two_{name}_direct", lambda op=op: written(f"return {op}({op}(s.a(x)))", a=conv()), (IMAGE,))
    yield Case(
        "two_sigmoids_tanh",
        lambda: written("x = s.a(x)\nreturn torch.sigmoid(x) * torch.tanh(x) + F.hardsigmoid(x)", a=conv()),
        (IMAGE,),
    )
    for name in ("sigmoid_", "tanh_"):
        yield Case(
            f"two_{name}inplace",
            lambda name=name: written(f"return s.b(s.a(x).{name}()).{name}()", a=conv(padding=1), b=conv()),
            (IMAGE,),
        )


def additions():
    """Two quantized tensors joined element by element (`bin_*`)."""
    shape = (2, 3, 4, 5)
    pair = lambda text: lambda: written(f"x, y = s.c1(x), s.c2(y)\n{text}", "x, y", c1=conv(3, 3, 1), c2=conv(3, 3, 1))
    for name, sign in (("add", "+"), ("mul", "*")):
        forms = {
            name: f"return x {sign} y",
            f"{name}_": f"x {sign}= y\nreturn x",
            f"{name}_relu": f"return F.relu(x {sign} y)",
            f"{name}_relu_": f"return F.relu(x {sign} y, inplace=True)",
            f"{name}__relu": f"x {sign}= y\nreturn F.relu(x)",
            f"{name}__relu_": f"x {sign}= y\nreturn F.relu_(x)",
            f"{name}_trelu": f"return torch.relu(torch.{name}(x, y))",
            f"{name}_module_relu": f"return (x {sign} y).relu()",
            f"{name}_same": f"return x {sign} x",
            f"{name}_same_relu": f"return F.relu(x {sign} x)",
            f"{name}_twice": f"return (x {sign} y) {sign} y",
            f"{name}_chain_relu": f"z = F.relu(x {sign} y)\nreturn F.relu(z {sign} y)",
            f"{name}_const": f"return x {sign} torch.ones([1, 3, 1, 1])",
            f"{name}_size": f"return x {sign} x.size(1)",
        }
        for form, text in forms.items():
            yield Case(f"bin_{form}", pair(text), (shape, shape))
        for form in (name, f"{name}_relu", f"{name}_"):
            yield Case(f"bin_{form}_full8", pair(forms[form]), (shape, shape), "pc8")
            yield Case(f"bin_{form}_traced", pair(forms[form]), (shape, shape), mode="trace")
        yield Case(f"bin_{name}_broadcast", pair(forms[name]), (shape, (1, 3, 4, 5)))
        yield Case(f"bin_{name}_broadcast_channel", pair(forms[f"{name}_relu"]), (shape, (2, 3, 1, 1)))
        yield Case(f"bin_{name}_odd_size", pair(forms[name]), ((1, 3, 7, 11), (1, 3, 7, 11)))
        yield Case(
            f"bin_{name}_one_float",
            lambda sign=sign: written(f"return s.c1(x) {sign} y", "x, y", c1=conv(3, 3, 1)),
            (shape, shape),
            note="only one side quantized: no fusion",
        )
        yield Case(
            f"bin_{name}_buffer",
            lambda sign=sign: written(f"return s.c1(x) {sign} s.t", c1=conv(3, 3, 1), t=torch.randn(1, 3, 1, 1)),
            (shape,),
        )
        yield Case(f"bin_{name}_inputs", lambda sign=sign: written(f"return x {sign} y", "x, y"), (shape, shape))
    yield Case("bin_add_alpha2", pair("return torch.add(x, y, alpha=2)"), (shape, shape))
    yield Case("bin_add_alpha2_relu", pair("return F.relu(torch.add(x, y, alpha=2))"), (shape, shape))
    yield Case("bin_add_alpha1f", pair("return torch.add(x, y, alpha=1.0)"), (shape, shape))
    yield Case("bin_sub", pair("return x - y"), (shape, shape))
    yield Case("bin_div", pair("return x / (y + 10.0)"), (shape, shape))
    yield Case("bin_maximum", pair("return torch.maximum(x, y)"), (shape, shape))
    yield Case("bin_matmul", pair("return torch.matmul(x, y.transpose(2, 3))"), (shape, shape))
    yield Case("bin_add_mul", pair("return (x + y) * y"), (shape, shape), "pc7")


def scalars():
    """A number added or multiplied (`scalar_*`): the operator chooses new scales."""
    shape = ((2, 3, 4, 5),)
    one = lambda text, **parts: lambda: written(f"x = s.c(x)\n{text}", c=conv(3, 3, 1), **parts)
    for name, sign, value in (
        ("add", "+", "3"),
        ("mul", "*", "3"),
        ("addf", "+", "3.5"),
        ("mulf", "*", "0.3"),
        ("add_neg", "+", "-3"),
        ("mul_neg", "*", "-2"),
        ("mul_zero", "*", "0"),
    ):
        forms = {
            name: f"return x {sign} {value}",
            f"{name}_": f"x {sign}= {value}\nreturn x",
            f"{name}_relu": f"return F.relu(x {sign} {value})",
            f"{name}_relu_": f"return F.relu(x {sign} {value}, inplace=True)",
            f"{name}__relu": f"x {sign}= {value}\nreturn F.relu(x)",
            f"{name}__relu_": f"x {sign}= {value}\nreturn F.relu_(x)",
            f"{name}_twice": f"return (x {sign} {value}) {sign} 2",
            f"{name}_reflected": f"return {value} {sign} x",
            f"{name}_attr": f"return x {sign} s.v",
            f"{name}_buffer": f"return x {sign} s.t",
            f"{name}_two_readers": f"x {sign}= {value}\nreturn torch.cat([x, x {sign} 2], 1)",
        }
        for form, text in forms.items():
            parts = (
                {"v": float(value)}
                if form.endswith("attr")
                else {"t": torch.tensor(float(value))}
                if form.endswith("buffer")
                else {}
            )
            yield Case(f"scalar_{form}", one(text, **parts), shape)
        for form in (name, f"{name}_", f"{name}_relu", f"{name}_relu_", f"{name}__relu", f"{name}__relu_"):
            yield Case(f"scalar_{form}_traced", one(forms[form]), shape, mode="trace")
        yield Case(f"scalar_{name}_full8", one(forms[name]), shape, "pc8")
    yield Case("scalar_add_alpha2", one("return torch.add(x, 3, alpha=2)"), shape)
    yield Case("scalar_add_of_conv_twice", one("y = x\ny += 3\nreturn s.c(y) + 1"), shape)
    yield Case("scalar_sub", one("return x - 1"), shape)
    yield Case("scalar_rsub", one("return 1 - x"), shape)
    yield Case("scalar_div", one("return x / 2.0"), shape)
    yield Case("scalar_pow", one("return x ** 2"), shape)
    yield Case("scalar_neg", one("return -x"), shape)
    yield Case(
        "scalar_reflected",
        lambda: written("return 2 + s.c1(x) * s.c2(y)", "x, y", c1=conv(3, 3, 1), c2=conv(3, 3, 1)),
        (shape[0], shape[0]),
    )
    yield Case("scalar_hswish_by_hand", one("return x * F.relu6(x + 3) / 6"), shape)
    yield Case("scalar_residual", one("return F.relu(x * 2 + x)"), shape)


def joins():
    """Concatenation and its relatives (`cat*`)."""
    shape = (2, 3, 4, 5)
    pair = lambda text: lambda: written(f"x, y = s.c1(x), s.c2(y)\n{text}", "x, y", c1=conv(3, 3, 1), c2=conv(3, 3, 1))
    forms = {
        "cat": "return torch.cat([x, y], 1)",
        "cat_relu": "return F.relu(torch.cat([x, y], 1))",
        "cat_dim0": "return torch.cat([x, y])",
        "cat_dim_neg": "return torch.cat((x, y), -1)",
        "cat3": "return torch.cat([x, y, x], 1)",
        "cat_same": "return torch.cat([x, x], 1)",
        "cat_one": "return torch.cat([x], 1)",
        "cat_of_cat": "return torch.cat([torch.cat([x, y], 1), x], 1)",
        "cat_append": "a = [x]\na.append(y)\nreturn torch.cat(a, 1)",
        "cat_grow": "a = [x]\nb = torch.cat(a, 1)\na.append(y)\nreturn torch.cat(a, 1) + torch.cat([b, b], 1)",
        "cat_list_add": "return torch.cat([x] + [y], 1)",
        "cat_concat": "return torch.concat([x, y], 1)",
        "cat_stack": "return torch.stack([x, y], 1)",
        "cat_hstack": "return torch.hstack([x, y])",
        "cat_then_conv": "return s.c1(torch.cat([x, y], 2))",
        "cat_sigmoid": "return torch.cat([torch.sigmoid(x), y], 1)",
        "cat_pool": "return torch.cat([F.max_pool2d(x, 2), F.avg_pool2d(y, 2)], 1)",
        "cat_flatten": "return torch.cat([x.flatten(1), y.flatten(1)], 1)",
        "cat_loop": "a = [x]\nfor i in range(2):\n    a.append(s.c1(a[i]))\nreturn torch.cat(a, 1)",
    }
    for name, text in forms.items():
        yield Case(name, pair(text), (shape, shape))
    for name in ("cat", "cat3", "cat_relu"):
        yield Case(f"{name}_traced", pair(forms[name]), (shape, shape), "pc7", mode="trace")
    yield Case("cat_no_quant", lambda: written("return torch.cat([x, y], 1)", "x, y"), (shape, shape))
    yield Case(
        "cat_one_float",
        lambda: written("return torch.cat([s.c1(x), y], 1)", "x, y", c1=conv(3, 3, 1)),
        (shape, shape),
        note="only one side quantized",
    )


def functions():
    """What a quantized tensor passes through (`fn_*`)."""
    for name, text in modules.FUNCTIONS.items():
        returns = modules.RETURNS.get(name, "Tensor")
        yield Case(
            f"fn_{name}",
            lambda text=text, returns=returns: written(text, returns=returns, c=conv(padding=1), c2=conv()),
            (IMAGE,),
        )
    for name in modules.FUNCTIONS_TRACED:
        yield Case(
            f"fn_{name}_traced",
            lambda text=modules.FUNCTIONS[name]: written(text, c=conv(padding=1), c2=conv()),
            (IMAGE,),
            "pc7",
            mode="trace",
        )
    for name in modules.BEFORE:
        text = modules.FUNCTIONS[name].replace("return ", "x = ") + "\nreturn s.c2(x)"
        yield Case(f"fn_{name}_between", lambda text=text: written(text, c=conv(padding=1), c2=conv()), (IMAGE,), "pc7")


def moved():
    """Operators that compute nothing, between those that do (`moved_*`)."""
    halves = {"c": conv(padding=1), "c2": conv(2, 3), "c3": conv(2, 3)}
    forms = {
        "slice": "return s.c2(s.c(x)[:, 1:3])",
        "slice_twice": "x = s.c(x)\nreturn s.c2(x[:, :2]) + s.c3(x[:, 2:])",
        "slice_chain": "return s.c2(s.c(x)[:, 1:3].flip([2]).transpose(2, 3))",
        "split": "a, b = torch.split(s.c(x), 2, 1)\nreturn s.c2(a) + s.c3(b)",
        "split_half_float": "a, b = torch.split(s.c(x), 2, 1)\nreturn s.c2(a) + torch.exp(b)[:, :3, 1:-1, 1:-1]",
        "unbind": "a, b = s.c(x).unflatten(1, [2, 2]).unbind(1)\nreturn s.c2(a) + s.c3(b)",
        "narrow_pool": "return s.c2(F.avg_pool2d(s.c(x).narrow(1, 0, 2), 2))",
        "flip_add": "x = s.c(x)\nreturn x + x.flip([3])",
        "movedim_linear": "return s.l(s.c(x).movedim(1, 3))",
        "movedim_add": "x = s.c(x)\nreturn x.movedim(2, 3) + x.transpose(2, 3)",
        "roll_pool": "return F.avg_pool2d(s.c(x).roll(1, 3), 2)",
        "slice_pool": "return F.avg_pool2d(s.c(x)[:, 1:3], 2)",
        "slice_hardswish": "return F.hardswish(s.c(x)[:, 1:3])",
        "slice_cat": "x = s.c(x)\nreturn s.c4(torch.cat([x[:, 2:], x[:, :2]], 1))",
        "expand_mul": "x = s.c(x)\nreturn x * x.mean([2, 3], keepdim=True).expand(2, 4, 7, 6)",
        "gelu": "return s.c2(F.gelu(s.c(x)[:, 1:3]))",
        "select_linear": "return s.l2(s.c(x).select(1, 2))",
        "pixel_shuffle": "return F.relu(F.pixel_shuffle(s.c(x), 2) * 2.0)",
        "zero_pad": "return s.c4(F.pad(s.c(x), [1, 1, 1, 1]))",
        "linear_view": "return s.l(s.l(x.movedim(1, 3)).view(2, -1, 4))",
    }
    for name, text in forms.items():
        make = lambda text=text: written(text, **halves, c4=conv(), l=nn.Linear(4, 4), l2=nn.Linear(6, 4))
        yield Case(f"moved_{name}", make, (IMAGE,))
        yield Case(f"moved_{name}_pc8", make, (IMAGE,), "pc8")
        yield Case(f"moved_{name}_traced", make, (IMAGE,), "pc7", mode="trace")


def flows():
    """Control flow, containers, calls and shared parts."""
    for name, (make, shapes) in modules.FLOWS.items():
        yield Case(f"fn_{name}", make, shapes)
    sub = lambda: modules.Pair(nn.Linear(5, 5), nn.Linear(5, 5))
    yield Case("fn_skip_submodule", sub, (ROW,), qdict={"": "pt7", "a": None})
    yield Case("fn_skip_second", sub, (ROW,), qdict={"": "pt7", "b": None})
    yield Case("fn_only_second", sub, (ROW,), qdict={"b": "pc7"})
    yield Case("fn_mixed_qconfig", sub, (ROW,), qdict={"a": "pt7", "b.fc": "pc7"})
    yield Case("iface_attr", lambda: modules.OnInterface(), (ROW,))
    yield Case("iface_attr_conv", lambda: modules.OnInterface(conv(), conv(padding=1)), (IMAGE,), "pc7")
    yield Case("fork_wait", lambda: modules.Forks(), (ROW,))
    yield Case("fork_wait_conv", lambda: modules.ForksConv(), (IMAGE,), "pc7")
    yield Case("user_function_call", lambda: modules.CallsFunction(), (ROW,))
    yield Case("user_function_call_conv", lambda: modules.CallsFunctionConv(), (IMAGE,), "pc7")


def blocks():
    """Blocks of real networks, with each engine's own configuration."""
    kinds = {
        "resblock": modules.Residual,
        "inv_residual": modules.InvertedResidual,
        "se_block": modules.SqueezeExcite,
        "avgpool_head": modules.Head,
        "dense_block": modules.Dense,
        "shuffle_unit": modules.Shuffle,
        "fire": modules.Fire,
        "inception": modules.Inception,
        "hswish_block": modules.Hswish,
        "downsample": modules.Downsample,
    }
    for name, kind in kinds.items():
        yield Case(f"fn_{name}", kind, (IMAGE,))
        yield Case(f"fn_{name}_full8", kind, (IMAGE,), "pc8")
        for engine in ("x86", "fbgemm", "qnnpack", "onednn"):
            yield Case(f"fn_{name}_hist_{engine}", kind, (IMAGE,), engine)
        yield Case(f"fn_{name}_traced_pc", kind, (IMAGE,), "pc7", mode="trace")
    yield Case("static_transformer", modules.Transformer, ((2, 5, 16),), "pc7")
    yield Case("static_transformer_pt7", modules.Transformer, ((2, 5, 16),), "pt7")
    yield Case("static_transformer_traced", modules.Transformer, ((2, 5, 16),), "pc7", mode="trace")
    yield Case("static_lstm_cell", modules.LstmCell, ((3, 5), (3, 4), (3, 4)), "pc7")
    yield Case("static_lstm", lambda: modules.Lstm(), ((3, 2, 5),), "pc7")


def dynamic():
    """Weights quantized, activations quantized on the fly (`dyn*`), or weights of half precision (`fp16*`)."""
    for prefix, config in (("dyn", "dyn"), ("dyn_pc", "dyn_pc"), ("fp16", "fp16")):
        for name, (make, shapes) in modules.DYNAMIC.items():
            yield Case(f"{prefix}_{name}", make, shapes, config, "dynamic")
        for name in ("linear", "linear_relu", "mlp", "functional", "two_uses", "transformer", "nobias"):
            make, shapes = modules.DYNAMIC[name]
            tail = "traced" if name == "linear" else f"{name}_traced"
            yield Case(f"{prefix}_{tail}", make, shapes, config, "dynamic", mode="trace")
    yield Case(
        "dyn_mixed",
        lambda: modules.Pair(nn.Linear(5, 5), nn.Linear(5, 5)),
        (ROW,),
        qt="dynamic",
        qdict={"a": "dyn", "b": "fp16"},
    )
    yield Case(
        "dyn_skip",
        lambda: modules.Pair(nn.Linear(5, 5), nn.Linear(5, 5)),
        (ROW,),
        qt="dynamic",
        qdict={"": "dyn_pc", "a": None},
    )
    yield Case(
        "dyn_preserved_method", lambda: modules.Extra(nn.Linear(5, 5)), (ROW,), "dyn", "dynamic", preserved=("other",)
    )


def embeddings():
    """Embedding bags of 8 and 4 bits."""

    def values():
        return torch.randint(0, 10, (8,)), torch.tensor([0, 3, 8])

    bag = lambda **options: nn.EmbeddingBag(10, 16, include_last_offset=True, mode="sum", **options)
    for config, width in (("eb8", "byte"), ("eb4", "4bit")):
        two = "i, o"
        yield Case(f"embbag_{width}", lambda: written("return s.e(i, o)", two, e=bag()), (), config, values=values)
        yield Case(
            f"embbag_{width}_two",
            lambda: written("return s.e(i, o) + s.f(i, o)", two, e=bag(), f=bag()),
            (),
            config,
            values=values,
        )
        yield Case(
            f"embbag_{width}_wide",
            lambda: written("return s.e(i, o)", two, e=nn.EmbeddingBag(10, 40, include_last_offset=True, mode="sum")),
            (),
            config,
            values=values,
        )
        yield Case(
            f"embbag_{width}_odd",
            lambda: written("return s.e(i, o)", two, e=nn.EmbeddingBag(10, 18, include_last_offset=True, mode="sum")),
            (),
            config,
            values=values,
        )
        yield Case(
            f"embbag_{width}_no_last",
            lambda: written("return s.e(i, o)", two, e=nn.EmbeddingBag(10, 16, mode="sum")),
            (),
            config,
            values=values,
        )
        yield Case(
            f"embbag_{width}_weights",
            lambda: written("return s.e(i, o, w)", "i, o, w", e=bag()),
            (),
            config,
            values=lambda: (*values(), torch.rand(8)),
        )
        yield Case(
            f"embbag_{width}_empty_bag",
            lambda: written("return s.e(i, o)", two, e=bag()),
            (),
            config,
            values=lambda: (torch.randint(0, 10, (8,)), torch.tensor([0, 0, 3, 3, 8])),
        )
        yield Case(
            f"embbag_{width}_int32",
            lambda: written("return s.e(i, o)", two, e=bag()),
            (),
            config,
            values=lambda: tuple(v.int() for v in values()),
        )
        yield Case(
            f"embbag_{width}_same_weight",
            lambda: written("return s.e(i, o) + s.e(i, o)", two, e=bag()),
            (),
            config,
            values=values,
        )
        yield Case(
            f"embbag_{width}_linear",
            lambda: written("return s.l(s.e(i, o))", two, e=bag(), l=nn.Linear(16, 4)),
            (),
            qdict={"e": config, "l": "pt7"},
            values=values,
        )
        yield Case(
            f"embbag_{width}_traced",
            lambda: written("return s.e(i, o)", two, e=bag()),
            (),
            config,
            mode="trace",
            values=values,
        )


def frozen():
    """What freezing keeps: preserved names, what is written to, modes."""
    for name, preserved in {
        "attr": ("scale", "label"),
        "container": ("version",),
        "method": ("info",),
        "method_conv": ("other",),
        "submodule": ("c",),
        "dotted": ("c.weight",),
        "dotted_bias": ("c.bias",),
        "dotted_method": ("c.forward",),
        "everything": ("scale", "info", "other", "c"),
        "training": ("training",),
        "twice": ("scale", "scale"),
        "forward": ("forward",),
        "qparam": ("label", "c.stride"),
        "method_and_submodule": ("other", "c"),
        "nested": ("deep.inner",),
        "nested_conv": ("deep.c",),
        "nested_method": ("deep.forward",),
    }.items():
        yield Case(
            f"preserved_{name}",
            lambda name=name: modules.ExtraDeep() if name.startswith("nested") else modules.Extra(),
            (IMAGE,),
            preserved=preserved,
        )
    for name, make in modules.MUTATED.items():
        yield Case(f"fn_{name}", make, (IMAGE,))
    train = {
        "conv_bn": lambda: nn.Sequential(conv(), nn.BatchNorm2d(4), nn.ReLU()),
        "conv": lambda: nn.Sequential(conv(), nn.ReLU()),
        "linear": lambda: written("return s.l(x.mean([2, 3]))", l=nn.Linear(4, 3)),
        "bn_after_pool": lambda: nn.Sequential(conv(), nn.MaxPool2d(2), nn.BatchNorm2d(4)),
    }
    for name, make in train.items():
        yield Case(f"train_{name}", make, (IMAGE,), training=True)


def refused():
    """What PyTorch's freezing refuses."""
    for name, make in modules.REFUSED.items():
        yield Case(f"error_{name}", make, (IMAGE,))
    for name, preserved in {
        "unknown_name": ("nothing",),
        "unknown_dotted": ("c.nothing",),
        "unknown_child": ("d.weight",),
    }.items():
        yield Case(f"error_{name}", lambda: modules.Extra(), (IMAGE,), preserved=preserved)
