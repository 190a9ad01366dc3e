"""Compiles Triton kernels, each in a process of its own.

One such program belongs to one worker of the pool. It imports Triton and compiles something small
once; what a job needs of that, it has by being forked. Frames come in on standard input and go out
there: the pool's own frames, with JSON in them. Nothing is unpickled and no shell is started.

A job's process joins the group that the worker has made for it, takes the job's limits on itself and
leaves its results as files in the job's directory. The worker kills the group; this program only says
how the job's process ended.
"""

import sys

# The directory of this file. Jobs can write there, and could put a module of Python's name into it.
del sys.path[0]

import gc
import json
import linecache
import os
import resource
import struct
import tempfile
import traceback
import zlib

# The pool tells which version of its frames it speaks.
VERSION = int(sys.argv[1])
HELLO, JOB, DONE = 1, 2, 4
HEADER = struct.Struct("<4sHHQI")
CHECKSUM = struct.Struct("<I")
LONGEST = 64 << 20
# How a job's process says whose fault it is.
REFUSED, NO_TOOL = 1, 3

WARM_UP = """
import triton
import triton.language as tl


@triton.jit
def warm_up(x, w, y, K: tl.constexpr):
    i = tl.arange(0, 32)
    acc = tl.zeros((32, 32), tl.int32)
    for at in range(0, K, 32):
        a = tl.load(x + i[:, None] * K + (at + i)[None, :], mask=i[:, None] < K, other=0)
        b = tl.load(w + i[None, :] * K + (at + i)[:, None])
        acc = tl.dot(a, b, acc, out_dtype=tl.int32)
    tl.store(y + i[:, None] * 32 + i[None, :], acc.to(tl.float32) * 0.5)
"""


class Refusal(Exception):
    """The source is at fault."""


class NoTool(Exception):
    """A program that the compiler needs is."""


def take(descriptor, length):
    """Exactly so many bytes, or nothing at the end of the stream."""
    pieces = []
    while length:
        piece = os.read(descriptor, min(length, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def receive(descriptor):
    """The next frame, or nothing at the end of the stream."""
    header = take(descriptor, HEADER.size + CHECKSUM.size)
    if header is None:
        return None
    magic, version, kind, job, length = HEADER.unpack_from(header)
    if magic != b"PLNW" or version != VERSION or length > LONGEST:
        raise SystemExit(f"expected a frame of version {VERSION}, got {header[:8]!r}")
    payload = take(descriptor, length)
    if payload is None:
        return None
    (checksum,) = CHECKSUM.unpack_from(header, HEADER.size)
    if zlib.crc32(payload, zlib.crc32(header[: HEADER.size])) != checksum:
        raise SystemExit("expected a frame whose checksum holds, got one whose checksum does not")
    return kind, job, json.loads(payload)


def send(descriptor, kind, job, message):
    payload = json.dumps(message).encode()
    header = HEADER.pack(b"PLNW", VERSION, kind, job, len(payload))
    frame = header + CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(header))) + payload
    while frame:
        frame = frame[os.write(descriptor, frame) :]


def tool_for(arch, expected):
    """The assembler that Triton will use. Triton replaces one that does not work by its own."""
    from triton.backends.nvidia.compiler import get_ptxas

    found = get_ptxas(arch)
    if os.path.realpath(found.path) != os.path.realpath(expected):
        raise NoTool(f"{expected} does not work as ptxas: Triton would take {found.path} instead")
    return found


def compiled(text, name, parameters, arch, options):
    """The function `name` of the module `text`, compiled. A parameter is its name, its type, and
    what divides it, or its name, "constexpr", and its value."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    # The name goes into the cubin's line table: it must be the same everywhere.
    file = f"{name}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    module = {"__name__": name, "__file__": file}
    exec(compile(text, file, "exec"), module)
    function = module.get(name)
    if not isinstance(function, triton.JITFunction):
        raise Refusal(f"`{name}` is not a function under @triton.jit in the source")
    declared = [parameter[0] for parameter in parameters]
    if function.arg_names != declared:
        raise Refusal(
            f"`{name}` takes ({', '.join(function.arg_names)}), "
            f"and the signature has ({', '.join(declared)})"
        )
    signature = {parameter: kind for parameter, kind, _ in parameters}
    constants = {
        parameter: value for parameter, kind, value in parameters if kind == "constexpr"
    }
    attributes = {
        (at,): [["tt.divisibility", value]]
        for at, (_, kind, value) in enumerate(parameters)
        if kind != "constexpr" and value > 1
    }
    source = ASTSource(function, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def run(job):
    """Compiles one kernel and leaves it in the current directory."""
    tool = tool_for(job["arch"], job["ptxas"])
    kernel = compiled(
        job["text"], job["function"], job["parameters"], job["arch"], job["options"]
    )
    told = kernel.metadata
    if told.tensordesc_meta:
        raise Refusal("tensor descriptors as arguments are not supported")
    metadata = {
        "name": told.name,
        "shared": told.shared,
        "num_warps": told.num_warps,
        "num_ctas": told.num_ctas,
        "launch_cooperative_grid": told.launch_cooperative_grid,
        "launch_pdl": told.launch_pdl,
        "tmem_size": told.tmem_size or 0,
        "global_scratch": {"bytes": told.global_scratch_size, "align": told.global_scratch_align},
        "profile_scratch": {
            "bytes": told.profile_scratch_size,
            "align": told.profile_scratch_align,
        },
        "triton": told.triton_version,
        "ptxas": tool.version,
    }
    for name, content in (
        ("kernel.cubin", kernel.asm["cubin"]),
        ("kernel.ptx", kernel.asm["ptx"].encode()),
        ("kernel.json", json.dumps(metadata).encode()),
    ):
        with open(name, "wb") as file:
            file.write(content)


def limit(bounds):
    cpu = bounds["cpu_s"]
    for kind, soft, hard in (
        (resource.RLIMIT_CPU, cpu, cpu + 2),
        (resource.RLIMIT_AS, bounds["memory"], bounds["memory"]),
        (resource.RLIMIT_FSIZE, bounds["output"], bounds["output"]),
    ):
        resource.setrlimit(kind, (soft, hard))


def work(job):
    """What the job's process does, from the fork to its end. Its exit code is returned."""
    os.setpgid(0, job["group"])
    os.chdir(job["directory"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    output = os.open("output.txt", flags, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ["TMPDIR"] = os.environ["HOME"] = job["directory"]
    os.environ["TRITON_CACHE_DIR"] = os.path.join(job["directory"], "triton")
    tempfile.tempdir = None
    limit(job["bounds"])
    try:
        run(job)
        return 0
    except (Refusal, NoTool) as error:
        print(error, file=sys.stderr)
        return REFUSED if isinstance(error, Refusal) else NO_TOOL
    except BaseException as error:
        # The frames of Triton's own code say nothing about the source.
        while error is not None:
            print("".join(traceback.format_exception_only(error)).strip(), file=sys.stderr)
            error = error.__cause__
        return REFUSED


def serve(descriptor):
    greeting = receive(descriptor)
    if greeting is None:
        return
    _, _, hello = greeting
    import triton

    os.makedirs(os.environ["TRITON_CACHE_DIR"], exist_ok=True)
    parameters = [["x", "*i8", 16], ["w", "*i8", 16], ["y", "*fp32", 16], ["K", "constexpr", 64]]
    options = {"num_warps": 1, "num_stages": 2, "enable_fp_fusion": False}
    compiled(WARM_UP, "warm_up", parameters, hello["arch"], options)
    # What is there stays: a collection in a child would copy all of its pages.
    gc.collect()
    gc.freeze()
    send(descriptor, HELLO, 0, {"triton": triton.__version__})
    while (frame := receive(descriptor)) is not None:
        kind, number, job = frame
        if kind != JOB:
            raise SystemExit(f"expected a job, got a frame of kind {kind}")
        child = os.fork()
        if child == 0:
            code = NO_TOOL
            try:
                os.close(descriptor)
                code = work(job)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        try:
            # It does so itself; whoever of the two is first spares the other a moment in which the
            # worker would kill a group that the child is not in yet.
            os.setpgid(child, job["group"])
        except OSError:
            pass
        _, status, usage = os.wait4(child, 0)
        signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        answer = {
            "signal": signal,
            "code": code,
            "cpu_ms": int((usage.ru_utime + usage.ru_stime) * 1000),
            "peak_kib": usage.ru_maxrss,
        }
        send(descriptor, DONE, number, answer)


def main():
    # Moved away from descriptor 0, where every child would inherit it and keep it open.
    descriptor = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    serve(descriptor)


main()
