"""Tocsin's streaming side: topics, offsets, time and state. Start reading in `streams.agents`."""
