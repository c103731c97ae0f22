"""The command line: each file the commands on one thing."""
