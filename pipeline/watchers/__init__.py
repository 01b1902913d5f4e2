"""The loops that move jobs. Each is safe to run twice and to kill anywhere; none is a leader."""
