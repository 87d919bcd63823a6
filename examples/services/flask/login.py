"""flask --app login run --port 9000

A basket that Flask keeps in its session, which is a cookie.
"""

import time

from flask import Flask, jsonify, request, session
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

app = Flask(__name__)
app.secret_key = "the same at all copies, so that each knows the sessions of all"


class AgreedTime(TimestampSigner):
    """Flask signs the time of day with a session; copies agree on that of the request."""

    def get_timestamp(self):
        return int(request.headers.get("Quorate-Time") or time.time() * 1000) // 1000


class AgreedSessions(SecureCookieSessionInterface):
    def get_signing_serializer(self, app):
        serializer = super().get_signing_serializer(app)
        serializer.signer = AgreedTime
        return serializer


app.session_interface = AgreedSessions()


@app.post("/login")
def login():
    session["user"], session["basket"] = request.form["user"], []
    return f"Welcome, {session['user']}\n"


@app.post("/basket")
def put():
    if "user" not in session:
        return "Who are you?\n", 401
    session["basket"] = [*session["basket"], request.form["item"]]
    return jsonify(session["basket"])


@app.get("/basket")
def show():
    return jsonify({"user": session.get("user"), "basket": session.get("basket")})
