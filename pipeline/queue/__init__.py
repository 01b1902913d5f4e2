"""Redis: who may run what now. The only package that imports redis."""
