"""A customer's use cases, reserve to release, and binding servers to what was promised."""
