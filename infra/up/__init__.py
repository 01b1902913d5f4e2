"""`dueq up`: the whole system on one machine. `system.System` is the door; `command` prints."""
