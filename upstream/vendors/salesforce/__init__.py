"""Salesforce: customers and contacts in, the outcome of jobs back."""
