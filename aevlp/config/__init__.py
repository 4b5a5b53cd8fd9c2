"""Experiment configuration: schema, registry, YAML loading, snapshots of the environment."""
