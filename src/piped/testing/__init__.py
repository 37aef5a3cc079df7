"""What bundle authors import in their own tests; pytest is imported by its modules only.

``piped.testing.pools`` has the suite that proves a transport of worker pools.
"""
