"""One client of HTTP: logins, tokens, refusals, faults."""
