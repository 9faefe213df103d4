"""What a module of the other language has, told without running it, and what is written from that for type checkers."""
