"""Metrics: ranking of scores, quality of pseudo-labels and of thresholded scores. All in percent."""

from aevlp.metrics.observed import observed_average_precision_per_class
from aevlp.metrics.pseudo_labels import pseudo_label_quality, pseudo_positives_per_class
from aevlp.metrics.ranking import average_precision_per_class, mean_average_precision

__all__ = [
    "average_precision_per_class", "mean_average_precision", "observed_average_precision_per_class", "pseudo_label_quality",
    "pseudo_positives_per_class",
]  # fmt: skip
