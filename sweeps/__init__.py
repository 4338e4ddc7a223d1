"""The service: spec, plan, executors, report and the command line."""
