"""The rules: pure decisions about who wrote what and which write stands, shared by the server and the devices."""
