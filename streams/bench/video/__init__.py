"""Measurements of the video path: beside a bare loop, at a pace, under too much load, over time."""
