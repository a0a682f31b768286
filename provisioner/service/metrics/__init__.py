"""What Prometheus scrapes: the site, and GPUs."""
