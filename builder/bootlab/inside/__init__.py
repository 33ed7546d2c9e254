"""What runs inside a lab's namespaces: process 1, what it needs, and the web server; no installed library."""
