"""The HTTP routes, one module a resource. They talk to ports and raise domain errors."""
