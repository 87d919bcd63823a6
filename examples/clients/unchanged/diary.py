"""python3 diary.py URL

Keeps a diary in a key-value service, by the requests library; knows nothing of quorums and proofs.
"""

import sys

import requests

url = sys.argv[1]
with requests.Session() as session:
    session.headers["Accept-Language"] = "en"
    for day, text in enumerate(["Rain.", "Rain again.", "Sun!"]):
        session.put(f"{url}/kv/day-{day}", data=text).raise_for_status()
    # Content of unknown length goes out in chunks.
    pieces = (f"page {page}\n".encode() for page in range(3))
    session.put(f"{url}/kv/book", data=pieces).raise_for_status()
    book = session.get(f"{url}/kv/book")
    print(book.status_code, book.text.splitlines())
    again = session.get(f"{url}/kv/book", headers={"If-None-Match": book.headers["ETag"]})
    print(again.status_code, len(again.content), session.head(f"{url}/kv/book").status_code)
    print(session.get(f"{url}/kv/day-2").text, session.get(f"{url}/kv/day-3").status_code)
