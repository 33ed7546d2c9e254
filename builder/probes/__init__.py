"""Looking at a host and at servers from outside: what is really there, and what really answers."""
