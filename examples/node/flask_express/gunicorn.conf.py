# This file is all that an existing app needs.
worker_class = "shm_protocol.gunicorn.BridgeWorker"
shm_expose = {"in_stock": "app:in_stock"}
