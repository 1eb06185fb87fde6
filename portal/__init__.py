"""Pages for staff. One more view of the journal: no Matrix token, no device key, no text of its own."""
