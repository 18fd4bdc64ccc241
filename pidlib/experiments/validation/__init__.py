"""Gates, bias, recovery and speed: validation of the estimators."""
