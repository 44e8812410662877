"""One file per metric, found by existing; docs/adding_a_metric.md."""
