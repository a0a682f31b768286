"""HTTP: the API, the pages, what machines and agents ask; use cases live in rental and fleet."""
