"""The front door: receives what devices and the office send, asks the rules, and remembers the answer."""
