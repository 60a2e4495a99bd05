"""Dialogs; none opens by itself."""
