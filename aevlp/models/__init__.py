"""Models: a backbone and a linear head. One file a family, built by name."""
