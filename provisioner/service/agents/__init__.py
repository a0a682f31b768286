"""The link to agents: reports in, grants out."""
