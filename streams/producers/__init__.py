"""Where events come from when no payment system sends them: a simulator, or a file."""
