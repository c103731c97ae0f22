"""QuickBooks Online: customers and invoices, and what is due."""
