"""A place to act on alerts: view, access, API and pages.

`view` keeps alerts, verdicts and suppressions in Redis, as the topics have them. `access` says who
may come in. `desk` is what a person can do; `api` and `pages` are two ways to ask for it. It reads
Kafka and Redis alone: no worker waits for a dashboard, nor for whoever looks at it.
"""
