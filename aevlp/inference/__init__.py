"""A trained model in use: evaluation, prediction, export; and the pseudo-labels of a labeler by themselves."""
