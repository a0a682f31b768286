"""`/v1`: one table of endpoints, typed requests and answers, OpenAPI made from the same table."""
