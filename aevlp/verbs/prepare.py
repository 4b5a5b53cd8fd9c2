"""`prepare`: from a downloaded dataset to the arrays that training reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.config import registry
from aevlp.config.errors import DataError

HELP = "check a downloaded dataset and write the arrays that training reads"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("dataset", metavar="DATASET", help="voc, coco, nuswide, cub or folder")
    parser.add_argument("--root", required=True, type=Path, metavar="FOLDER", help="folder of the dataset, as it was unpacked")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to write, if not into the root")
    parser.add_argument("--download", action="store_true", help="first fetch the official archives into the root: voc, coco, cub")
    parser.add_argument("--no-image-check", action="store_true", help="do not decode every image")


def run(arguments: argparse.Namespace) -> None:
    """Prepare one dataset."""
    if arguments.dataset not in registry.names("datasets"):  # those that there are import torch
        registry.get("datasets", arguments.dataset)
    if arguments.download:
        from aevlp.data.archives import download
        from aevlp.terminal import Terminal

        download(arguments.dataset, arguments.root, Terminal())
    if not arguments.root.is_dir():
        raise DataError(f"--root {arguments.root}: there is no such folder")
    from aevlp.data.prepare import prepare

    prepare(arguments.dataset, arguments.root, arguments.out, check=not arguments.no_image_check)
