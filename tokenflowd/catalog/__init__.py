"""Which models there are: ids, manifests, checksums. Knows files, not inference."""

from tokenflowd.catalog.catalog import Catalog
from tokenflowd.catalog.manifest import Dataset, File, Manifest, Task

__all__ = ["Catalog", "Dataset", "File", "Manifest", "Task"]
