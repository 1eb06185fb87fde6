"""Speaks Matrix: what comes in becomes rows of the bridge, and rows of the outbox become events."""
