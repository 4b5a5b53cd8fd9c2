"""The W&B workspace of a project as plain data, and its building with wandb-workspaces (extra `dashboard`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aevlp.config.errors import UnavailableError

Panel = dict[str, Any]
NAME = "aevlp"
BY_EXPERIMENT = "name"  # of the configuration: seeds of one experiment become one line with a band


def _lines(title: str, *metrics: str, x: str = "trainer/epoch") -> Panel:
    return {"type": "lines", "title": title, "x": x, "metrics": list(metrics)}


def _bars(title: str, metric: str) -> Panel:
    return {"type": "bars", "title": title, "metrics": [metric]}


# Section, whether it is open at first, panels. Config values are named without a prefix, as W&B nests them.
SECTIONS: tuple[tuple[str, bool, tuple[Panel, ...]], ...] = (
    ("Overview", True, (
        _bars("Test mAP", "test/mAP"),
        _lines("Validation mAP", "val/mAP"),
        _lines("Best validation mAP so far", "best/val_mAP"),
        _lines("Training loss", "train/loss"),
    )),
    ("Pseudo-label quality", True, (
        _lines("Precision of pseudo-positives", "pseudo/positive/precision"),
        _lines("Recall of pseudo-positives", "pseudo/positive/recall"),
        _lines("Pseudo-positives", "pseudo/positive/count"),
        _bars("The labeler's own test mAP", "test/labeler_mAP"),
        {"type": "images", "title": "Training images, and the tiles the labeler saw", "metrics": ["samples"]},
    )),
    ("Classes", False, (
        {"type": "table", "metrics": ["test/per_class"]},
        {"type": "table", "metrics": ["pseudo/per_class"]},
    )),
    ("Efficiency", False, (
        _lines("Images per second", "perf/images_per_second"),
        _lines("Share of time waiting for data", "perf/data_wait"),
        _lines("Peak memory, MB", "perf/memory_peak_mb"),
        _lines("Views encoded", "perf/clip_images_encoded"),
        _lines("Loss by step", "train/step_loss", x="trainer/step"),
    )),
    ("Sweeps", False, (
        {"type": "importance", "metrics": ["best/val_mAP"]},
        {"type": "parallel", "config": ["loss.name", "trainer.learning_rate", "trainer.batch_size"],
         "metrics": ["best/val_mAP", "test/mAP"]},
    )),
    ("What differs", False, ({"type": "comparer", "metrics": []},)),
)  # fmt: skip


def specification(entity: str | None, project: str) -> dict[str, Any]:
    """The workspace as JSON-able data."""
    sections = [{"name": name, "open": is_open, "panels": list(panels)} for name, is_open, panels in SECTIONS]
    return {"entity": entity, "project": project, "name": NAME, "sections": sections}


def metrics(sections: Iterable[dict[str, Any]]) -> list[str]:
    """All metrics that are plotted, axes included, each once."""
    panels = [panel for section in sections for panel in section["panels"]]
    return sorted({name for panel in panels for name in [*panel["metrics"], *([panel["x"]] if "x" in panel else [])]})


def build(spec: dict[str, Any]) -> Any:
    """The `wandb_workspaces.workspaces.Workspace` of a specification, not saved. UnavailableError without the package."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UnavailableError("dashboard needs wandb-workspaces: pip install 'aevlp[dashboard]'") from error
    sections = [
        ws.Section(name=section["name"], is_open=section["open"], panels=[_panel(panel) for panel in section["panels"]])
        for section in spec["sections"]
    ]
    return ws.Workspace(entity=spec["entity"], project=spec["project"], name=spec["name"], sections=sections)


def _panel(panel: Panel) -> Any:
    import wandb_workspaces.reports.v2 as wr

    names = panel["metrics"]
    grouped = {"groupby": wr.Config(BY_EXPERIMENT), "groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}
    match panel["type"]:
        case "lines":
            return wr.LinePlot(title=panel["title"], x=panel["x"], y=names, **grouped)
        case "bars":
            return wr.BarPlot(title=panel["title"], metrics=names, **grouped)
        case "images":
            return wr.MediaBrowser(title=panel["title"], media_keys=names)
        case "table":
            return wr.WeavePanelSummaryTable(table_name=names[0])
        case "importance":
            return wr.ParameterImportancePlot(with_respect_to=names[0])
        case "parallel":
            axes = [wr.Config(name) for name in panel["config"]] + [wr.SummaryMetric(name) for name in names]
            return wr.ParallelCoordinatesPlot(columns=[wr.ParallelCoordinatesPlotColumn(axis) for axis in axes])
    return wr.RunComparer(diff_only="split")


def save(spec: dict[str, Any]) -> str:
    """Build and save the workspace; returns its address. UnavailableError where W&B does not take it."""
    import wandb

    try:
        entity = spec["entity"] or wandb.Api().default_entity
        return str(build(spec | {"entity": entity}).save().url)
    except UnavailableError:
        raise
    except Exception as error:  # W&B raises its own, requests' and bare ones
        lines = str(error).splitlines() or [type(error).__name__]
        raise UnavailableError(f"W&B did not take the workspace: {lines[0]} (`wandb login` makes a login)") from error
