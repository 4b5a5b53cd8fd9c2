"""Data: the single-positive protocol, dataset formats, images and loaders."""

from aevlp.data import protocol

__all__ = ["protocol"]
