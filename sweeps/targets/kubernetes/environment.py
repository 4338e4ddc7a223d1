"""The environment of a sweep's containers, and the names that a pool's own `env` can't set.

Imports nothing: the pool refuses by these names, and the Pods are rendered with them.
"""

from __future__ import annotations

SHARED = "/mnt/gradsweep"  # what every node of the sweep sees: states of members, data sets

# In every container; HOME because the root file system is read-only.
EVERYWHERE = {
    "HOME": "/tmp",
    "PYTHONSAFEPATH": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # A node that is told to end ends: what it has not recorded is trained elsewhere. Ray would wait 30 s for its pack;
    # within one it says why it goes, and Tune does not count that as a failure of the pack.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GRADSWEEP_CACHE": f"{SHARED}/cache",
}
HEAD = {
    # A lost node is noticed after 3 seconds instead of 12.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_JOB_STOP_WAIT_TIME_S": "30",  # from SIGTERM to SIGKILL, both Ray's
    "GRADSWEEP_STOP_SECONDS": "20",  # from SIGTERM to the driver's own end
    "GRADSWEEP_MIRROR_SECONDS": "15",  # a finished driver waits so long for MLflow; a job delivers the rest
}
# KubeRay writes these itself, or refuses a RayJob that has them (ray-operator/controllers/ray: common/pod.go,
# utils/validation.go).
KUBERAY = frozenset(
    """
    FQ_RAY_IP KUBERAY_GEN_RAY_START_CMD PYTHONUNBUFFERED RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN RAY_CLOUD_INSTANCE_ID
    RAY_CLUSTER_NAME RAY_CLUSTER_NAMESPACE RAY_DASHBOARD_ADDRESS RAY_IP RAY_JOB_SUBMISSION_ID RAY_NODE_TYPE_NAME
    RAY_PORT RAY_REDIS_ADDRESS RAY_USAGE_STATS_EXTRA_TAGS RAY_enable_autoscaler_v2 RAY_external_storage_namespace
    REDIS_PASSWORD REDIS_USERNAME
    """.split()
)


def is_ours(name: str) -> bool:
    """Whether a variable is set by gradsweep or KubeRay, so that a pool can't."""
    prefixed = name.startswith(("GRADSWEEP_", "MLFLOW_TRACKING_"))
    return prefixed or name in EVERYWHERE or name in HEAD or name in KUBERAY
