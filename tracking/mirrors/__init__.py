"""What is made of the ledger for other tools: MLflow's runs and Optuna's studies. Can be lost and made again."""
