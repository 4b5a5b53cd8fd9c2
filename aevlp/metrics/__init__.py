"""Metrics: ranking of scores, quality of pseudo-labels and of thresholded scores, figures by known labels. All in percent."""

from aevlp.metrics.known_labels import known_label_quality
from aevlp.metrics.observed import observed_average_precision_per_class
from aevlp.metrics.pseudo_labels import pseudo_label_quality, pseudo_positives_per_class
from aevlp.metrics.ranking import average_precision_per_class, mean_average_precision, mean_over_classes, num_occurring

__all__ = [
    "average_precision_per_class",
    "known_label_quality",
    "mean_average_precision",
    "mean_over_classes",
    "num_occurring",
    "observed_average_precision_per_class",
    "pseudo_label_quality",
    "pseudo_positives_per_class",
]
