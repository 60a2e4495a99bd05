"""The paper's tables, re-run at compact size: see docs/paper_tables.md."""
