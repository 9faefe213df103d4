"""A hundred gunicorn workers, each with a connection of its own."""

from concurrent.futures import ThreadPoolExecutor

import http_client
from services import Services

WORKERS = 100


def test_a_hundred_workers_attach_serve_both_ways_and_end() -> None:
    # Loaded once, before the fork: the rest is what a hundred workers cost the bridge.
    with Services(workers=WORKERS, gunicorn_args=["--preload"]) as services, ThreadPoolExecutor(8) as clients:
        assert len(services.worker_pids()) == WORKERS
        texts = [f"Text {number}" for number in range(2 * WORKERS)]

        def slugify(text: str) -> object:
            return http_client.post(f"{services.python_url}/api/slugify", {"text": text}).json()

        def predict(text: str) -> object:
            return http_client.post(f"{services.node_url}/api/predict", {"text": text}).json()["text"]

        assert list(clients.map(slugify, texts)) == [{"slug": text.lower().replace(" ", "-")} for text in texts]
        assert list(clients.map(predict, texts)) == texts
