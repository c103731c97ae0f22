"""Measurements that are run by hand: ratios taken in one run, never part of a test."""
