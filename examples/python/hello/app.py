from flask import Flask
from shm_protocol.flask import Bridge

app = Flask(__name__)
bridge = Bridge(app)


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"{bridge.call('greetings.greet', name, timeout=10)}\n"
