"""The tests of the collector."""
