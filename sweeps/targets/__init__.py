"""Where a sweep is submitted to: this machine, a Ray cluster, a Kubernetes namespace."""
