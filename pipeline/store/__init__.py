"""MongoDB: the truth. The only package that imports motor and pymongo."""
