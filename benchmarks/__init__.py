"""How fast TokenFlow is, against llmlingua and transformers on the same machine and weights."""
