import time

import shm_protocol


@shm_protocol.expose
def crawl(pages: int) -> int:
    """Reads pages, one a second, for as long as somebody waits for them."""
    call = shm_protocol.current_call()
    assert call is not None
    for _ in range(pages):
        if call.cancelled:
            print("nobody waits for the crawl any more", flush=True)
            break
        time.sleep(1)
    return pages


if __name__ == "__main__":
    shm_protocol.serve()
