"""How the four kinds of job are run."""
