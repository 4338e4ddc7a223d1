"""A Kubernetes namespace with KubeRay, as a target."""
