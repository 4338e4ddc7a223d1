-- Run once, on an empty data directory. The user is the one of POSTGRES_USER.
CREATE DATABASE ledger;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
