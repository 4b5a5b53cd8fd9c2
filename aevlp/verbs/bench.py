"""`bench`: this project beside a plain baseline, on this machine."""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from aevlp.config.errors import ConfigError
from aevlp.verbs._flags import add_set, changes

BATCHES = ("--batch-size",)
HELP = "time and memory of every stage, beside a plain baseline, on this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("--images", type=int, default=16, metavar="N", help="photos of the real two epochs (default: 16)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="images per step (default: 8)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where both sides compute (default: cuda where there is one)")
    add_set(parser, "change values of the experiment coco_gpr; the baseline follows loss, labeler rule, grid, and image size")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write everything as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    if not 2 <= arguments.batch_size <= arguments.images:
        raise ConfigError("bench: --batch-size must be at least 2 and at most --images")
    if arguments.plugin:
        raise ConfigError("bench: measures parts of the package alone; leave --plugin out")
    words = changes(arguments)
    from aevlp.output import marked, output_file, require_own

    if arguments.output is not None:
        require_own(arguments.output, "file that `bench` wrote", marked('{\n "machine": '))
    with contextlib.nullcontext() if arguments.output is None else output_file(arguments.output) as aside:
        import torch

        if arguments.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("bench: no CUDA device here; leave --device out")
        from aevlp.bench.compare import bench

        bench(arguments.images, arguments.batch_size, aside, words, arguments.device)
