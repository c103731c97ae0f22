"""What people do about connections: the one place of the commands that knows the inside of `upstream`."""
