"""Alerts and what people said about them, in Redis: bounded, and rebuilt from the topics."""
