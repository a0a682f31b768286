"""The agents' link: reports in, grants out."""
