"""The lab's web server: serves a directory, as an ordinary user once it listens.

    python -I -S web.py UID ADDRESS PORT DIRECTORY

It gives root up itself, since only root can be sure to read the interpreter, which may lie in a user's own directory.
"""

from __future__ import annotations

import functools
import http.server
import os
import sys
import traceback  # noqa: F401 - socketserver imports it when a request has failed, where it may not be readable


def main() -> None:
    """Listens, becomes a user without groups, then serves until it is killed."""
    user, address, port, directory = sys.argv[1:]
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
    with http.server.ThreadingHTTPServer((address, int(port)), handler) as server:
        os.setgroups([])
        os.setresgid(*[int(user)] * 3)
        os.setresuid(*[int(user)] * 3)  # with the last of root's ids go its capabilities, capabilities(7)
        sys.stdout.write(f"Serving HTTP on {address} port {port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
