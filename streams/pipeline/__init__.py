"""The steps of the data path, in order: decode, score, publish, flush, acknowledge.

`batch` names what passes between the steps, `decode` and `dead_letter` are the first fate a record
can have, `lane` runs a detector's two halves on their threads, `publish` waits for the broker,
`delivery` holds the steps to their order, `recovery` is the one way back from a failure.
"""
