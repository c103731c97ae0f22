"""What can be wrong with an import as a whole; a bad row is a reject and no error."""

from __future__ import annotations


class ImportFailed(Exception):
    """The import cannot begin or go on; the message says what to change."""

    code = "import_failed"


class BadMapping(ImportFailed):
    """The mapping file does not say what it must."""

    code = "bad_mapping"


class BadTable(ImportFailed):
    """The file cannot be read as the mapping says: encoding, header, or no rows."""

    code = "bad_table"
