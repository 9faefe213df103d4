"""The command `shm-polyglot`. It uses the library as programs do, and nothing in the library uses it."""
