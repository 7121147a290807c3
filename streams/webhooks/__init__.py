"""Alerts out to HTTP endpoints."""
