"""Metrics for Prometheus: names, page, HTTP."""
