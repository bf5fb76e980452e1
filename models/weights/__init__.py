"""The models that ship with TokenFlow: one folder each, described by its manifest.json."""
