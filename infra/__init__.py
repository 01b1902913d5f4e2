"""How it runs: the command line, the private servers of this machine, the benchmark."""
