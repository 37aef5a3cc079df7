"""The providers that come with Piped, one file or folder per system."""
