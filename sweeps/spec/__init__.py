"""The spec of a sweep: its model, its rules, and its errors with line and key."""
