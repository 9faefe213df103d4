from difflib import get_close_matches

import shm_protocol

FRUITS = ["apple", "apricot", "banana", "cherry", "mango", "orange", "papaya"]


def corrections(word: str) -> list[str]:
    """What may have been meant, the likeliest first."""
    return get_close_matches(word.lower(), FRUITS)


if __name__ == "__main__":
    shm_protocol.serve(expose={"spelling": {"corrections": corrections}})
