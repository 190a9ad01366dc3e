"""Builds a program of `benches` that answers a script beside it."""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def built(bench):
    """Builds it and returns its path."""
    command = ["cargo", "bench", "--bench", bench, "--no-run", "--message-format=json"]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in output.splitlines())
    paths = [m["executable"] for m in messages if m.get("target", {}).get("name") == bench and m.get("executable")]
    return paths[-1]
