"""Dataset formats: one file a format, each building an `SPMLData`."""
