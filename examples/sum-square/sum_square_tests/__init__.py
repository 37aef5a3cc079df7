"""The tests of the service, each a processor: `tests.run` of a document says which ones run."""
