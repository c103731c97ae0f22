"""Everything that knows HTTP: routes, who is asking, and the one table of problems and statuses."""
