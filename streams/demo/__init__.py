"""The demo: servers, workers and simulator on one machine, watched from outside.

`ground` finds or starts the servers, `play` runs the scenario on them, `tally` and `gauges` count
what comes out. Nothing here draws: `streams.cli.demo` does.
"""
