"""Material that prompts of several tests are about."""

from __future__ import annotations

DIFF = """\
diff --git a/app/limits.go b/app/limits.go
--- a/app/limits.go
+++ b/app/limits.go
@@ -4,9 +4,9 @@ package app
 // Limits of one account.
 const (
-  MaxUploads = 10
+  MaxUploads = 250
   Currency = "EUR"
 )
-func Open() bool { return false }
+func Open() bool { return Trial }
"""
