"""`dueq demo`: every kind of job, on real servers, in half a minute. `command` is the door."""
