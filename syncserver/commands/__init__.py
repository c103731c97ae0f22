"""What can be asked of the server: each module takes a request apart from HTTP and carries it out whole."""
