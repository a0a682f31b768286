"""Use cases of a customer: reserve, release; binding servers to what was promised."""
