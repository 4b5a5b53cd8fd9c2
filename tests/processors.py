"""Run tests as other processors would: with their instructions, on one thread and on two.

    python tests/processors.py                                 # the tests marked `processor`
    python tests/processors.py --on default-1 --on avx2-2      # on some of them
    python tests/processors.py tests/unit/test_losses.py       # arguments of pytest

ATEN_CPU_CAPABILITY bounds what torch's own kernels use, ONEDNN_MAX_CPU_ISA what convolutions use. Exit code 1 where a test fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Name: what bounds it, and which processors (as torch calls them) can play it.
SETS = {
    "default": ({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}, ("DEFAULT", "AVX2", "AVX512")),
    "avx2": ({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}, ("AVX2", "AVX512")),
    "avx512": ({"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, ("AVX512",)),
    "own": ({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, None),
}
NAMES = [f"{name}-{threads}" for name in SETS for threads in (1, 2)]


def capability() -> str:
    """What this processor has, in torch's words."""
    os.environ.pop("ATEN_CPU_CAPABILITY", None)
    import torch

    return torch.backends.cpu.get_cpu_capability() if platform.machine().lower() in ("x86_64", "amd64") else platform.machine()


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", action="append", choices=NAMES, help="instructions and threads; all where it is not given")
    options, rest = parser.parse_known_args(words)
    here, results = capability(), {}
    for name in options.on or NAMES:
        instructions, threads = name.rsplit("-", 1)
        bounds, processors = SETS[instructions]
        if processors is not None and here not in processors:
            results[name] = f"skipped, this processor has {here}"
            continue
        print(f"+ {name}: {' '.join(f'{key}={value}' for key, value in bounds.items())} OMP_NUM_THREADS={threads}", flush=True)
        command = [sys.executable, "-m", "pytest", *(rest or ["-m", "processor"])]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | bounds | {"OMP_NUM_THREADS": threads}).returncode
        results[name] = "passed" if code == 0 else f"FAILED, exit code {code}"
    print("\n".join(f"{name:10} {result}" for name, result in results.items()))
    return int(any(result.startswith("FAILED") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
