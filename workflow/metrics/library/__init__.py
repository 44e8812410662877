"""One file per further metric, found by existing; docs/adding_a_metric.md."""
