"""Thousands of run folders made from a real one: `python tests/many_runs.py RUN FOLDER [RUNS] [EXPERIMENTS]`."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

from aevlp.config.loading import from_dict
from aevlp.config.yaml_reading import read_yaml

OWN = ("config.yaml", "summary.json", "metrics.jsonl", "per_class.csv")  # the rest is the same file in all of them
UNFINISHED = 20  # one of so many was stopped


def make(source: Path, root: Path, runs: int, experiments: int) -> None:
    """`runs` copies of a finished run as runs of `experiments`, each with figures, a seed and a setting of its own."""
    root.mkdir(parents=True)
    texts = {name: (source / name).read_text() for name in OWN}
    summary, rows = json.loads(texts["summary.json"]), [json.loads(line) for line in texts["metrics.jsonl"].splitlines()]
    shared = [path for path in source.iterdir() if path.is_file() and path.name not in (*OWN, ".lock")]
    hashes = {}
    for number in range(runs):
        draw, seed = random.Random(number), number // experiments
        name = f"{summary['experiment']}_{number % experiments:05d}"
        folder = root / f"{name}-20260101-{seed:06d}-{number:06x}"
        folder.mkdir()
        for path in shared:
            os.link(path, folder / path.name)
        shift = number % experiments / experiments + draw.gauss(0, 1)
        config = texts["config.yaml"].replace(f"name: {summary['experiment']}", f"name: {name}", 1)
        config = config.replace(f"\nseed: {summary['seed']}", f"\nseed: {seed}", 1)
        config = config.replace("temperature: 0.", f"temperature: 0.{number % experiments + 1:05d}", 1)
        (folder / "config.yaml").write_text(config)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(_moved(row, shift)) + "\n" for row in rows))
        if number % UNFINISHED == UNFINISHED - 1:
            continue
        if name not in hashes:
            hashes[name] = from_dict(read_yaml(config, "config.yaml")[0], "config.yaml").hash
        found = {"experiment": name, "run_id": folder.name, "seed": seed, "config_hash": hashes[name]}
        (folder / "summary.json").write_text(json.dumps(_moved(summary, shift) | found, indent=1))
        header, *classes = texts["per_class.csv"].splitlines()
        cells = [line.rsplit(",", 2) for line in classes]
        lines = [f"{label},{float(value) + shift:.4f},{count}" for label, value, count in cells]
        (folder / "per_class.csv").write_text("\n".join([header, *lines, ""]))


def _moved(values: dict, shift: float) -> dict:
    return {name: value + shift if isinstance(value, float) else value for name, value in values.items()}


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:] or (10_000, 200)))
