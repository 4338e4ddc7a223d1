"""What runs inside a sweep's Pods beside Ray: checks before it starts, and its end. Each is up in a moment."""
