"""The W&B workspaces of a project as plain data, and their building with wandb-workspaces (extra `dashboard`).

Two, because W&B filters runs by workspace, not by panel: the thirty trials of a study would bury the experiments.
"""

from __future__ import annotations

from typing import Any

from aevlp.config.errors import UnavailableError

Panel = dict[str, Any]
Sections = tuple[tuple[str, bool, tuple[Panel, ...]], ...]
TRIAL, STUDY = "sweep-trial", "sweep"  # job types of a study's runs
BEST = "best/val_mAP"  # what most studies are for
BY_EXPERIMENT = "name"  # of the configuration: seeds of one experiment become one line with a band


def _lines(title: str, *metrics: str, x: str = "trainer/epoch") -> Panel:
    return {"type": "lines", "title": title, "x": x, "metrics": list(metrics)}


def _bars(title: str, *metrics: str) -> Panel:
    return {"type": "bars", "title": title, "metrics": list(metrics)}


def _scatter(setting: str, log: bool = False) -> Panel:
    return {"type": "scatter", "title": setting, "config": [setting], "metrics": [BEST], "log": log}


_DIFFERS = ("What differs", False, ({"type": "comparer", "metrics": []},))
# Section, whether it is open at first, panels. Config values are named without a prefix, as W&B nests them.
EXPERIMENTS: Sections = (
    ("Overview", True, (
        # A run has one figure or the other; those by known labels are a lower bound.
        _bars("Test mAP, by known labels where there are no others", "test/mAP", "test/mAP_observed"),
        _lines("Validation mAP by full and by known labels", "val/mAP", "val/mAP_observed"),
        _lines("Best validation mAP so far", "best/val_mAP"),
        _lines("Training loss", "train/loss"),
    )),
    ("Known labels", True, (
        _lines("Known labels among the first 1, 3, 5 classes", "val/known_recall_1", "val/known_recall_3", "val/known_recall_5"),
        _lines("Mean rank of known labels", "val/known_rank"),
        _lines("Labels predicted an image", "val/labels_per_image"),
        _lines("Agreement of model and labeler", "val/agreement"),
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
    _DIFFERS,
)  # fmt: skip
# Of what the studies in sweeps/ search, single numbers; a list such as loss.beta is one value to W&B.
SWEEPS: Sections = (
    ("Sweeps", True, (
        {"type": "parallel", "title": "Settings and what came of them", "metrics": [BEST],
         "config": ["labeler.grid", "labeler.temperature", "labeler.threshold", "labeler.top_k", "loss.lambda1", "loss.lambda2",
                    "loss.rho", "trainer.learning_rate"]},
        {"type": "importance", "metrics": [BEST]},
        _lines("Validation mAP by full and by known labels", "val/mAP", "val/mAP_observed"),
    )),
    ("Labeler", True, (
        _scatter("labeler.grid"), _scatter("labeler.temperature", log=True), _scatter("labeler.eta"),
        _scatter("labeler.threshold"), _scatter("labeler.top_k"), _scatter("labeler.negative_ratio"),
    )),
    ("Loss and optimiser", True, (
        _scatter("loss.rho"), _scatter("loss.lambda1"), _scatter("loss.lambda2"), _scatter("loss.q2", log=True),
        _scatter("loss.q3"), _scatter("loss.regularizer", log=True), _scatter("trainer.learning_rate", log=True),
    )),
    _DIFFERS,
)  # fmt: skip
# Name, whether its runs are the trials of studies or all others, sections.
WORKSPACES = (("aevlp", False, EXPERIMENTS), ("aevlp sweeps", True, SWEEPS))


def specification(entity: str | None, project: str) -> dict[str, Any]:
    """The workspaces as JSON-able data."""
    return {"entity": entity, "project": project, "workspaces": [
        {"name": name, "job_types": {"only": [TRIAL]} if trials else {"without": [TRIAL, STUDY]},
         "sections": [{"name": title, "open": is_open, "panels": list(panels)} for title, is_open, panels in sections]}
        for name, trials, sections in WORKSPACES
    ]}  # fmt: skip


def build(spec: dict[str, Any]) -> list[Any]:
    """A `wandb_workspaces.workspaces.Workspace` each, not saved. UnavailableError without the package."""
    try:
        import wandb_workspaces.workspaces as ws
    except ImportError as error:
        raise UnavailableError("dashboard needs wandb-workspaces: pip install 'aevlp[dashboard]'") from error
    job_type, best_first = ws.Metric("JobType"), [ws.Ordering(ws.Summary(BEST), ascending=False)]
    built = []
    for workspace in spec["workspaces"]:
        sections = [
            ws.Section(name=section["name"], is_open=section["open"], panels=[_panel(panel) for panel in section["panels"]])
            for section in workspace["sections"]
        ]
        chosen = workspace["job_types"]
        wanted = job_type.isin(chosen["only"]) if "only" in chosen else job_type.notin(chosen["without"])
        built.append(ws.Workspace(
            entity=spec["entity"], project=spec["project"], name=workspace["name"], sections=sections,
            runset_settings=ws.RunsetSettings(filters=[wanted], order=best_first),
        ))  # fmt: skip
    return built


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
            columns = [wr.ParallelCoordinatesPlotColumn(axis) for axis in axes]
            return wr.ParallelCoordinatesPlot(title=panel["title"], columns=columns)
        case "scatter":
            x, y = wr.Config(panel["config"][0]), wr.SummaryMetric(names[0])
            return wr.ScatterPlot(title=panel["title"], x=x, y=y, log_x=panel["log"])
    return wr.RunComparer(diff_only="split")


def save(spec: dict[str, Any]) -> list[str]:
    """Build and save the workspaces; returns their addresses. UnavailableError where W&B does not take them."""
    import wandb

    try:
        entity = spec["entity"] or wandb.Api().default_entity
        return [str(workspace.save().url) for workspace in build(spec | {"entity": entity})]
    except UnavailableError:
        raise
    except Exception as error:  # W&B raises its own, requests' and bare ones
        lines = str(error).splitlines() or [type(error).__name__]
        hint = "" if "wandb login" in lines[0] else " (`wandb login` makes a login)"
        raise UnavailableError(f"W&B did not take the workspaces: {lines[0]}{hint}") from error
