"""The document of the API, made when it changes."""
