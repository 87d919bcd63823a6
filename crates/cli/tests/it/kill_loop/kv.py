"""python3 kv.py PORT: keys and values in memory, of the standard library alone.

It answers like the built-in service `kv`, knows nothing of quorums, and forgets everything when it
is killed.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

values = {}
lock = threading.Lock()


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


def execute(method, path, content):
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
        with lock:
            status, answer = execute(self.command, self.path, content)
        answer = answer.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = serve

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
