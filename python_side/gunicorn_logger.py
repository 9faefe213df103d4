"""gunicorn's logger, writing its lines as all others of the service (logs.py)."""

import logging

from gunicorn.config import Config
from gunicorn.glogging import Logger

from python_side import logs


class OneLineLogger(Logger):
    """Set as `logger_class`."""

    def setup(self, cfg: Config) -> None:
        """Sets the handlers up, and again after each reload of the configuration."""
        super().setup(cfg)
        logs.configure(self.loglevel)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.OneLineFormatter())
        logging.getLogger().setLevel(self.loglevel)
