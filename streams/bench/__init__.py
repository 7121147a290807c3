"""Measurements of the two paths, beside what people would otherwise build.

Every system under test is a process of its own, on one broker, over one preloaded topic, and is
watched from outside. `job` is the scoring that the systems beside Tocsin share, `video` the
other path.
"""
