"""The composition roots: each reads the settings, builds clients and runs one role.

Nothing else does either. A crash at any line of these loses nothing: what they hold is in the
stores, and the next process of the role goes on with it.
"""
