"""Runs many bags through the estimator: they are cut into pieces, spread over workers, merged."""
