"""Peers that do what a peer may do wrong. The payload says when: everything else is answered rightly."""
