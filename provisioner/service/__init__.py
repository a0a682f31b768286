"""HTTP: the API, the pages, machines' and agents' requests; use cases are in rental and fleet."""
