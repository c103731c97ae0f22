"""Files of rows over a folder or SFTP, for whatever has no interface: payroll bureaus, old ERPs."""
