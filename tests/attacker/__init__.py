"""A client of NFS that obeys no rule: it makes file handles of its own and looks what a server gives for them.

It speaks NFSv3 (RFC 1813), v4.0 (RFC 7531), v4.1 (RFC 5662) and v4.2 (RFC 7863) over plain RPC and runs beside the
server, so that it knows what no client knows: inode, generation and UUID of everything that it wants.
"""
