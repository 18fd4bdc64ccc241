"""Fine-tuning on weighted questions; modules have `trainings(preset)`, fig_gain `requests` too."""
