"""The agents' link: reports in, lease terms out."""
