"""`make docs`: the pages and the reference of both libraries."""
