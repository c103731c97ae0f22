"""`fieldsync load`: a fleet of reference devices against one server, and proof that nothing acknowledged is missing."""
