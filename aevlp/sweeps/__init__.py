"""Studies: Optuna searches over experiments, spread over processes and machines, stopped and continued at will."""
