"""python3 orders.py 127.0.0.1:9000

A little order book over HTTP, of the standard library alone: POST /orders, GET /orders,
GET /orders/1, GET /total. It knows nothing of quorums.
"""

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

orders = []
lock = threading.Lock()


def create(content):
    try:
        asked = json.loads(content)
        item, quantity, price = asked["item"], asked["quantity"], asked["price"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 400, {"error": "an order has an item, a quantity and a price in cents"}
    if [type(item), type(quantity), type(price)] != [str, int, int] or quantity < 1 or price < 0:
        return 422, {"error": "nobody can order that"}
    order = {"id": len(orders) + 1, "item": item, "quantity": quantity, "price": price}
    orders.append(order)
    return 201, order


def read(path):
    if path == "/orders":
        return 200, orders
    if path == "/total":
        total = sum(order["quantity"] * order["price"] for order in orders)
        return 200, {"orders": len(orders), "total": total}
    named = re.fullmatch(r"/orders/([1-9][0-9]{0,8})", path)
    if named and int(named[1]) <= len(orders):
        return 200, orders[int(named[1]) - 1]
    return 404, {"error": "there is no such thing"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        with lock:
            if self.path == "/internal/state":
                self.answer(200, orders)
            else:
                self.answer(*read(self.path))

    def do_PUT(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            if self.path == "/internal/state":
                orders[:] = json.loads(content)
                self.answer(200, {"orders": len(orders)})
            else:
                self.answer(404, {"error": "there is no such thing"})

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with lock:
            if self.path == "/orders":
                self.answer(*create(content))
            elif self.path == "/internal/reset":
                orders.clear()
                self.answer(200, {"orders": 0})
            else:
                self.answer(404, {"error": "there is no such thing"})

    def answer(self, status, value):
        content = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 201:
            self.send_header("Location", f"/orders/{value['id']}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    print(f"orders at {sys.argv[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
