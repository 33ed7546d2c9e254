"""Commands for those who serve them: each is about a store."""
