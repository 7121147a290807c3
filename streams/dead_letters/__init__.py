"""What became of records that could not be processed: found, looked at, sent back after a fix."""
