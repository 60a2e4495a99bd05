"""Scores of masks and models."""
