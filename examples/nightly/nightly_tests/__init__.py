"""The tests of the nightly job."""
