"""Programs that reach a server by its URL like anybody else: the reference device and the office."""
