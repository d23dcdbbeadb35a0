"""The whole pipeline in one command, and what this machine can run of it."""
