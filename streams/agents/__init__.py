"""The agents: what happens to a record, from decode to decision. `fraud` is the place to start."""
