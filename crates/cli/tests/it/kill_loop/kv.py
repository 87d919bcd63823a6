"""python3 kv.py PORT [FOLDER]: keys and values in memory, of the standard library alone.

It answers like the built-in service `kv`, knows nothing of quorums, and forgets everything when it
is killed.

While FOLDER/habit holds `HABIT SEED`, half of what clients ask is answered wrongly, or not at all,
and FOLDER/deeds gets a line for each, with the way. What the copy holds stays right all the same:
else a wrong answer that nobody asked for again could not be told from a fault of the replica.
"""

import io
import json
import os
import random
import re
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# In which ways each habit shows, by turns.
WAYS = {
    "random": ("random content", "random status", "random value"),
    "stale": ("stale",),
    "slow": ("slow near", "slow over"),
    "hang": ("hang before", "hang after"),
    "garbage": ("garbage words", "garbage half-head", "garbage half-content"),
    "die": ("die before", "die after", "die half-way"),
}

# Near the two seconds that a copy has, and over them.
DELAYS = {"slow near": 1.5, "slow over": 2.5}

# The exit code of a copy that died by its habit.
DIED = 86

values = {}
lock = threading.Lock()


class Habit:
    """What this copy does wrong for now, by the word of the file that says so."""

    def __init__(self, folder):
        self.folder, self.text, self.old = folder, "", {}

    def said(self):
        try:
            with open(f"{self.folder}/habit") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def is_over(self):
        return self.said() != self.text

    def draw(self):
        """The way to do wrong with what is asked now; None for doing right."""
        if self.folder is None:
            return None
        if self.is_over():
            self.text, self.old = self.said(), dict(values)
            self.random = random.Random(self.text)
        if not self.text:
            return None
        ways = WAYS[self.text.split()[0]]
        if len(ways) > 1 and self.random.random() < 0.5:
            return None
        return ways[self.done() % len(ways)]

    def did(self, way):
        with open(f"{self.folder}/deeds", "a") as file:
            file.write(way + "\n")

    def done(self):
        """How much was done, also by processes before this one."""
        try:
            with open(f"{self.folder}/deeds") as file:
                return len(file.readlines())
        except FileNotFoundError:
            return 0

    def invent(self, way, right):
        status, answer = told = right
        while told == right:
            number = self.random.randrange(1, 1 << 20)
            if way == "random status":
                told = self.random.choice((200, 201, 404, 409, 500, 502)), answer
            elif way == "random value":
                told = 200, f"{number:<1024}"
            else:
                told = (200 if status == 204 else status), f"a lie, the {number}th"
        return told


def internal(method, path, content):
    if (method, path) == ("POST", "/internal/reset"):
        values.clear()
    elif (method, path) == ("PUT", "/internal/state"):
        values.clear()
        values.update(json.loads(content))
    elif (method, path) == ("GET", "/internal/state"):
        return 200, json.dumps(values, sort_keys=True)
    else:
        return 404, ""
    return 200, ""


def execute(values, method, path, content):
    if path.startswith("/internal/"):
        return internal(method, path, content)
    named = re.fullmatch(r"/kv/([^/]+)(/cas)?", path)
    if not named:
        return 404, ""
    key, held = named[1], values.get(named[1])
    if named[2]:
        asked = json.loads(content)
        if asked["expect"] != held:
            return 409, json.dumps({"actual": held})
        values[key] = asked["set"]
        return 200, ""
    if method == "PUT":
        values[key] = content
        return (201 if held is None else 204), ""
    if held is None:
        return 404, ""
    if method == "DELETE":
        del values[key]
        return 204, ""
    return 200, held


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def serve(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        asked = self.command, self.path, content
        with lock:
            # What a replica asks by itself comes without it.
            way = habit.draw() if "Quorate-Index" in self.headers else None
            told = None
            if way not in ("hang before", "die before"):
                told = right = execute(values, *asked)
            if way == "stale":
                told = execute(dict(habit.old), *asked)
                way = None if told == right else way
            elif way in WAYS["random"]:
                told = habit.invent(way, right)
            if way is not None:
                habit.did(way)
        time.sleep(DELAYS.get(way, 0))
        if way in WAYS["hang"]:
            while not habit.is_over():
                time.sleep(0.05)
            self.close_connection = True
        elif way in ("die before", "die after"):
            os._exit(DIED)
        elif way == "die half-way":
            whole = self.message(*told)
            self.wfile.write(whole[: len(whole) // 2])
            os._exit(DIED)
        elif way == "garbage words":
            self.wfile.write(b"What was it that you wanted?\r\n\r\n")
            self.close_connection = True
        elif way == "garbage half-head":
            self.reset(self.message(*told)[:20])
        elif way == "garbage half-content":
            self.reset(self.message(200, told[1] + 100 * ".")[:-50])
        else:
            self.wfile.write(self.message(*told))

    def message(self, status, answer):
        answer, wire = answer.encode(), self.wfile
        self.wfile = io.BytesIO()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        whole, self.wfile = self.wfile.getvalue() + answer, wire
        return whole

    def reset(self, half):
        self.wfile.write(half)
        # Closed at once, with what is still on its way thrown away.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = serve

    def log_message(self, *_):
        pass


habit = Habit(sys.argv[2] if len(sys.argv) > 2 else None)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
