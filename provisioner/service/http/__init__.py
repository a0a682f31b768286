"""HTTP itself: problems, endpoints, streams, bearer tokens. Generic: it knows no table."""
