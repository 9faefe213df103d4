from datetime import UTC, datetime

from tasks import remind

due = datetime(2026, 12, 24, tzinfo=UTC)
customers = {"Ada": "en", "Brahms": "de", "Chopin": "fr", "Dvořák": "cs"}
for letter in [remind.delay(name, due, language) for name, language in customers.items()]:
    print(letter.get(timeout=60))
