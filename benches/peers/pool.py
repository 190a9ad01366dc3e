#!/usr/bin/env python3
"""Times PyTorch's pool of compile workers (inductor's SubprocPool) and planish's, on the same machine, in the same run; prints the ratios.

Needs PyTorch 2.15, a C compiler and Rust's `cargo`, and a machine that does nothing else:

    benches/peers/pool.py
    benches/peers/pool.py --rounds 5 --only round queued

Both have two workers. What is timed is told by `benches/pool.rs`, which answers for planish; here is the same for PyTorch. Its pool has no
limits and compiles no C, so those rows have planish's figure alone. Medians of the rounds; each round asks both, one after the other.
"""

import argparse
import functools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from program import built

WORKERS = 2

# question, key in the answer, what is printed, unit, what is demanded, whether more is better
ROWS = [
    ("cold", "ms", "construction to first result, cold", "ms", "at most 3", False),
    ("round", "p50_us", "round trip of an empty job, p50", "µs", "at most 20", False),
    ("round", "p99_us", "round trip of an empty job, p99", "µs", "at most 60", False),
    ("queued", "jobs_per_s", "empty jobs a second, 10,000 queued", "/s", "at least 200,000", True),
    ("payload", "in_jobs_per_s", "1 MiB in, jobs a second", "/s", "at least 4,000", True),
    ("payload", "both_jobs_per_s", "1 MiB in and out, jobs a second", "/s", "at least 2,000", True),
    ("idle", "bytes", "idle memory, private (PyTorch: all; planish: a worker)", "B", "at most 2,000,000", False),
    ("killed", "ms", "usable again after a killed worker", "ms", "at most 3", False),
    ("killed", "lost", "jobs lost with it, of 8", "", "0", False),
    ("orphans", "processes_left", "processes 50 ms after the parent is killed", "", "0", False),
    ("shutdown", "idle_ms", "shutdown, idle", "ms", "at most 5", False),
    ("shutdown", "busy_ms", "shutdown, busy", "ms", "at most 50", False),
    ("limit", "late_ms", "a job over its limit: dead after it by", "ms", "at most 10", False),
    ("overhead", "sandbox_ms", "sandbox of a compiler, for each job", "ms", "at most 2", False),
    ("kernels 16", "cold_ms", "16 int8 kernels, cold cache, to loaded", "ms", "at most 450", False),
    ("kernels 64", "warm_ms", "64 kernels, warm cache, to loaded", "ms", "at most 10", False),
]


def main():
    """Asks both, prints the table."""
    if sys.argv[1:] == ["--host"]:
        return host()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count")
    parser.add_argument("--only", nargs="*", help="these questions, by their first word")
    args = parser.parse_args()
    questions = list(dict.fromkeys(row[0] for row in ROWS))
    if args.only:
        questions = [question for question in questions if question.split()[0] in args.only]
    program = built("pool")
    print(f"{'work':56} {'PyTorch':>12} {'planish':>12} {'ratio':>9}   demanded")
    for question in questions:
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(ask(program, question))
            peer = PEERS.get(question)
            theirs.append(peer() if peer else {})
        for row in (row for row in ROWS if row[0] == question):
            print_row(row, ours, theirs)


def print_row(row, ours, theirs):
    """One line of the table."""
    _, key, what, unit, demanded, more = row
    own = statistics.median(answer[key] for answer in ours)
    theirs = [answer[key] for answer in theirs if key in answer]
    peer = statistics.median(theirs) if theirs else None
    figure = lambda value: "–" if value is None else f"{value:,.1f} {unit}" if unit in ("ms", "µs") else f"{value:,.0f} {unit}"
    best = (own, peer) if more else (peer, own)
    ratio = f"{best[0] / best[1]:,.1f} ×" if peer and own else "–"
    print(f"{what:56} {figure(peer):>12} {figure(own):>12} {ratio:>9}   {demanded}", flush=True)


def ask(program, question):
    """One question, one answer, one process."""
    done = subprocess.run([program], input=question + "\n", stdout=subprocess.PIPE, text=True)
    if done.returncode != 0 or not done.stdout:
        raise SystemExit(f"planish did not answer {question!r}: {done.stdout}")
    return json.loads(done.stdout.splitlines()[-1])


def new_pool():
    """A pool of PyTorch's."""
    from torch._inductor.compile_worker.subproc_pool import SubprocPool

    return SubprocPool(WORKERS)


def warmed():
    """A pool whose workers are there."""
    pool = new_pool()
    for future in [pool.submit(functools.partial(time.sleep, 0.05)) for _ in range(2 * WORKERS)]:
        future.result()
    return pool


def timed(work):
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peer_cold():
    import torch._inductor.compile_worker.subproc_pool  # noqa: F401  not part of the figure

    start = time.perf_counter()
    pool = new_pool()
    pool.submit(os.getpid).result()
    seconds = time.perf_counter() - start
    pool.shutdown()
    return {"ms": seconds * 1e3}


def peer_round():
    pool = warmed()
    times = sorted(timed(lambda: pool.submit(os.getpid).result()) for _ in range(1_000))
    pool.shutdown()
    return {"p50_us": times[500] * 1e6, "p99_us": times[990] * 1e6}


def rate(pool, job, count):
    """Jobs a second when all are submitted at once."""
    start = time.perf_counter()
    for future in [pool.submit(job) for _ in range(count)]:
        future.result()
    return count / (time.perf_counter() - start)


def peer_queued():
    pool = warmed()
    result = {"jobs_per_s": rate(pool, os.getpid, 10_000)}
    pool.shutdown()
    return result


def peer_payload():
    pool = warmed()
    payload = bytes(1 << 20)
    result = {
        "in_jobs_per_s": rate(pool, functools.partial(len, payload), 200),
        "both_jobs_per_s": rate(pool, functools.partial(bytes, payload), 200),
    }
    pool.shutdown()
    return result


def peer_idle():
    pool = warmed()
    private = 0
    for pid in descendants(pool.process.pid) + [pool.process.pid]:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                private += int(line.split()[1]) * 1024
    pool.shutdown()
    return {"bytes": private}


def peer_killed():
    pool = warmed()
    jobs = [pool.submit(functools.partial(time.sleep, 0.3)) for _ in range(2)]
    jobs += [pool.submit(functools.partial(time.sleep, 0.001)) for _ in range(6)]
    time.sleep(0.1)
    os.kill(descendants(pool.process.pid)[0], signal.SIGKILL)
    start = time.perf_counter()
    while True:
        try:
            pool.submit(os.getpid).result()
            break
        except Exception:  # noqa: BLE001  whatever it is, the pool is not usable
            continue
    seconds = time.perf_counter() - start
    lost = sum(1 for job in jobs if job.exception() is not None)
    pool.shutdown()
    return {"ms": seconds * 1e3, "lost": lost}


def peer_orphans():
    child = subprocess.Popen([sys.executable, __file__, "--host"], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    below = descendants(child.pid)
    child.kill()
    time.sleep(0.05)
    left = sum(1 for pid in below if alive(pid))
    child.wait()
    return {"processes_left": left}


def host():
    """A program with a busy pool, to be killed."""
    pool = warmed()
    jobs = [pool.submit(functools.partial(time.sleep, 1_000)) for _ in range(2)]
    print("ready", flush=True)
    jobs[0].result()


def peer_shutdown():
    pool = warmed()
    idle = timed(pool.shutdown)
    pool = warmed()
    for _ in range(2):
        pool.submit(functools.partial(time.sleep, 2.5))
    time.sleep(0.1)
    busy = timed(pool.shutdown)
    return {"idle_ms": idle * 1e3, "busy_ms": busy * 1e3}


PEERS = {
    "cold": peer_cold,
    "round": peer_round,
    "queued": peer_queued,
    "payload": peer_payload,
    "idle": peer_idle,
    "killed": peer_killed,
    "orphans": peer_orphans,
    "shutdown": peer_shutdown,
}


def descendants(pid):
    """All processes below this one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def alive(pid):
    """Whether a process runs. One that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    main()
