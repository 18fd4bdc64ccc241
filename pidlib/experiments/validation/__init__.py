"""Gates, bias, coverage, recovery and speed: validation of the estimators."""
