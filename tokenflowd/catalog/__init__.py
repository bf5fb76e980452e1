"""Which models there are: ids, manifests, checksums. Knows files, not inference."""

from tokenflowd.catalog.catalog import Catalog, is_shipped
from tokenflowd.catalog.manifest import Dataset, File, Manifest, Task

__all__ = ["Catalog", "Dataset", "File", "Manifest", "Task", "is_shipped"]
