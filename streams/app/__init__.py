"""Composition root: the one place that constructs stores, networks and detectors."""
