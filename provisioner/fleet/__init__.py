"""Use cases of an operator: enrol servers, ask something of them, keep accounts and images."""
