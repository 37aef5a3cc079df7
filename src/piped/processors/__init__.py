"""The processors that come with Piped, one file per topic."""
