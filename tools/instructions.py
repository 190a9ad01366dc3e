#!/usr/bin/env python3
"""Counts the instructions of every pass and writes them to `benches/instructions.tsv`, the baseline of `benches/instructions.rs`.

    tools/instructions.py

Prints by which factor each pass takes more when a chain becomes twice as long, from 1,000 to 4,000 layers. Needs valgrind and
`gungraun-runner`. Run it when a pass is meant to take more, or takes less; the difference is part of the change.
"""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASELINE = ROOT / "benches" / "instructions.tsv"


def main():
    """Measures without limits and writes what was counted."""
    lines = [first_line("rustc"), first_line("ldd")]
    counts = {}
    BASELINE.write_text("")
    command = ["cargo", "bench", "--bench", "instructions", "--", "--output-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for bench in (json.loads(line) for line in output.splitlines() if line.startswith("{")):
        name = bench["function_name"]
        count = bench["profiles"][0]["data"]["parts"][0]["metrics"]["Ir"]["values"]["new"]
        counts[name, bench["id"]] = count
        lines.append(f"{name}\t{bench['id']}\t{count}")
    BASELINE.write_text("\n".join(lines) + "\n")
    for name, network in counts:
        if network == "chain4000":
            print(f"{name:22} ×{(counts[name, network] / counts[name, 'chain1000']) ** 0.5:.2f} per doubling")


def first_line(program):
    """What a program says of its version."""
    command = [program, "--version"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[0]


if __name__ == "__main__":
    main()
