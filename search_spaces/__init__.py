"""What is searched and how: ranges, choices, arms, samplers, pruners, and the Optuna study behind them."""
