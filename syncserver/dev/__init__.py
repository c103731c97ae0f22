"""One command for a desk: services, migrations, people and work to try things on, and the server."""
