"""Where messages travel: a shared-memory channel or the socket itself, behind one interface."""
