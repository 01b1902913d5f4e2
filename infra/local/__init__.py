"""Private RabbitMQ, MongoDB, Redis and HAProxy on loopback, for `dueq up` and for tests.

`servers.LocalServers` is the door. Nothing in here touches a server that it did not start.
"""
