"""The proof: real processes, killed in the middle of work, judged by an independent witness."""
