"""Health in the lifecycle: servers are judged, and verdicts have effects."""
