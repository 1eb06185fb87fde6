"""Remembers: tables, sealing and use cases. Every use case takes an open transaction."""
