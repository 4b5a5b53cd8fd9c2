"""Whether weights are those of a model, told in a line: torch's own words are one for each of hundreds of tensors."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aevlp.text import listed

OTHER_MODEL = "config.yaml was edited, or the model has changed since: open it with the version of aevlp that wrote it"
"""What to do where the weights of a run, or of its export, do not fit."""


def misfit(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str | None:
    """What is missing of the state dict `expected`, unexpected or of another shape, with first names; None where all fits."""
    missing, extra = [name for name in expected if name not in weights], set(weights) - set(expected)
    wrong = [name for name in expected if name in weights and expected[name].shape != weights[name].shape]
    found = (("missing", missing), ("unexpected", sorted(extra)), ("of another shape", wrong))
    return "; ".join(f"{len(names)} {what} ({listed(names, 3)})" for what, names in found if names) or None
