"""A customer's use cases from reserve to release, and binding servers to reservations."""
