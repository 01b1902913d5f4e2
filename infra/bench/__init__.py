"""`dueq bench`: how fast, how dear, how punctual, with every single job checked.

End to end: from the first byte sent until every job is recorded (its document final, its execution
there). The load comes from this process, on the same machine; what it costs is told, not counted.
"""
