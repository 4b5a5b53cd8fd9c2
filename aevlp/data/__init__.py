"""Data: the single-positive protocol, dataset formats, images and loaders."""
