"""A version on its way into a store: fetched, trusted, admitted, staged."""
