# flask --app orders run --port 9000
from flask import Flask, request

app, orders = Flask(__name__), []


@app.post("/orders")
def create():
    order = {"id": len(orders) + 1, **request.get_json()}
    orders.append(order)
    return order, 201


@app.get("/orders")
def show():
    return orders
