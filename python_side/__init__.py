"""The Python half of the showcase: a Flask app under gunicorn that calls TypeScript, and that TypeScript calls."""
