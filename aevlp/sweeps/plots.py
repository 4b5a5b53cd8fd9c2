"""All plots of a study in one HTML file that needs no network."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from aevlp.config.errors import ConfigError
from aevlp.output import output_file
from aevlp.reporting.html import require_page
from aevlp.sweeps.study import MARK
from aevlp.sweeps.summary import describe_best, importances

_STYLE = "body{font:15px system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap}"


def write_page(study: optuna.Study, path: Path) -> None:
    """Write the page, complete or not at all.

    Raises:
        ConfigError: plotly is missing, no trial is complete, or `path` is no path for a page, or holds something else.
    """
    require_page(path, "study", "--html")
    try:
        import plotly.io
    except ImportError as error:
        raise ConfigError("--html needs a package: pip install 'aevlp[sweeps]'") from error
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise ConfigError(f"study {study.study_name}: no trial is complete yet, so there is nothing to plot")
    parts: list[str] = []
    for title, figure in figures(study):
        first = not parts  # the library, 4 MB, goes in once
        parts.append(f"<h2>{html.escape(title)}</h2>{plotly.io.to_html(figure, include_plotlyjs=first, full_html=False)}")
    name = html.escape(study.study_name)
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>aevlp study {name}</title><style>{_STYLE}</style>'
        f"<h1>{name}</h1><pre>{html.escape(describe_best(study))}</pre>{''.join(parts)}</html>"
    )
    with output_file(path, "--html") as aside:
        aside.write_text(page, encoding="utf-8")


def figures(study: optuna.Study) -> list[tuple[str, Any]]:
    """Title and plotly figure of every plot that this study's trials allow."""
    plots = optuna.visualization
    metrics: list[str] = study.user_attrs[MARK]["metrics"]
    made: list[tuple[str, Any]] = []
    for i, metric in enumerate(metrics):
        target = (lambda trial, i=i: trial.values[i]) if len(metrics) > 1 else None
        named: dict[str, Any] = {"target": target, "target_name": metric}
        # Of the parameters that matter most: all pairs of twenty would be 190 plots.
        foremost = list(importances(study, i))[:4]
        made += [
            (f"History: {metric}", partial(plots.plot_optimization_history, study, **named)),
            (f"Importance: {metric}", partial(_bars, importances(study, i))),
            (f"Slices: {metric}", partial(plots.plot_slice, study, **named)),
            (f"Parallel coordinates: {metric}", partial(plots.plot_parallel_coordinate, study, **named)),
        ]
        if len(foremost) > 1:
            made.append((f"Contours: {metric}", partial(plots.plot_contour, study, params=foremost, **named)))
    if len(metrics) == 1:
        made.append(("Epochs", partial(plots.plot_intermediate_values, study)))
    elif len(metrics) <= 3:
        made.append(("Pareto front", partial(plots.plot_pareto_front, study)))
    return [(title, figure) for title, make in made if (figure := _made(title, make)) is not None]


def _bars(shares: dict[str, float]) -> Any:
    import plotly.graph_objects

    names = list(reversed(shares))
    return plotly.graph_objects.Figure(plotly.graph_objects.Bar(x=[shares[name] for name in names], y=names, orientation="h"))


def _made(title: str, make: Callable[[], Any]) -> Any:
    """A figure, or None where there are too few trials for it."""
    try:
        return make()
    except (ValueError, RuntimeError) as error:
        logging.getLogger("aevlp").warning("no plot %s: %s", title, error)
        return None
