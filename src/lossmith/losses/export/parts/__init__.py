"""Parts of exported files, one module a framework: working code, which is read as text and never imported."""
