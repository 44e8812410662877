"""The benchmark itself: planning, training, evaluation, tables and figures."""
