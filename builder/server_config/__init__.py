"""`diskless server-config`: the configuration of a server for diskless clients, printed, installed and taken away."""
