"""What is searched and how: ranges, choices, samplers, pruners, and suggestions from an Optuna study in memory."""
