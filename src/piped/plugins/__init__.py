"""Where Piped 0.x kept its plug-ins; here only to say where they are now."""

raise ImportError(
    "piped.plugins.status_testing is of Piped 0.x: a test module now says"
    " 'from piped.status import ...'; see docs/differences.md"
)
