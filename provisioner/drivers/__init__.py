"""All that touches the outside world: plain values in and out, no policy, no tables."""
