"""python3 client.py --policy policy.txt [-X METHOD] [-H 'name: value'].. [-d DATA] URL

Prints the content of a verified answer, and the verdict on the standard error stream. Exit code 1
for a refusal or no answer, 2 for a mistake in the command, 3 for what is not verified.
"""

import argparse
import http.client
import json
import sys
import time
import urllib.parse
import uuid

from quorate_verify import NotVerified, Policy, Request, Response, verify


class Refused(Exception):
    """The gateway answered by itself: nothing was ordered, and nothing is proven."""


def ask(url, request):
    """Sends a request as it stands, and gives the response as it came."""
    parts = urllib.parse.urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    connection = kinds[parts.scheme](parts.netloc, timeout=30)
    try:
        target = request.path + (request.query if request.query != b"?" else b"")
        method = request.method.decode("ascii")
        connection.putrequest(method, target.decode("ascii"), skip_accept_encoding=True)
        for name, value in request.fields:
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body)
        answer = connection.getresponse()
        fields = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.getheaders()]
        response = Response(answer.status, fields, answer.read())
    finally:
        connection.close()
    if is_refusal(response):
        problem = json.loads(response.body)
        raise Refused(f"[{problem['code']}]: {response.status}, {problem['detail']}")
    return response


def is_refusal(response):
    """A problem document that says itself that it is not proven."""
    names = {name.lower(): value for name, value in response.fields}
    if names.get(b"content-type") != b"application/problem+json" or b"quorate-index" in names:
        return False
    try:
        return json.loads(response.body).get("proven") is False
    except (ValueError, AttributeError):
        return False


def fetch_verified(url, policy, method="GET", fields=(), body=b"", max_age=None):
    """A verified answer to a request that no older answer fits: the verdict and the response."""
    parts = urllib.parse.urlsplit(url)
    own = {name.lower() for name, _ in fields}
    defaults = [(b"Idempotency-Key", b'"%s"' % str(uuid.uuid4()).encode())]
    defaults += [(b"Accept", b"*/*"), (b"Prefer", b"proof=inline")]
    fields = [*fields, *((name, value) for name, value in defaults if name.lower() not in own)]
    path, query = (parts.path or "/").encode("ascii"), b"?" + parts.query.encode("ascii")
    request = Request(method.encode("ascii"), path, query, fields, body)
    response = ask(url, request)
    verdict = verify(policy, request, response)
    if max_age is not None and time.time() - verdict.time / 1000 > max_age:
        raise NotVerified("too-old", f"answered at {time.ctime(verdict.time / 1000)}")
    return verdict, response


def header(line):
    name, colon, value = line.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"no header field: {line}")
    return name.encode("latin-1"), value.strip(" \t").encode("latin-1")


def main():
    parser = argparse.ArgumentParser(description="Prints the content of a verified answer.")
    parser.add_argument("--policy", required=True, type=argparse.FileType("rb"))
    parser.add_argument("-X", "--request", metavar="METHOD")
    parser.add_argument("-H", "--header", action="append", default=[], type=header)
    parser.add_argument("-d", "--data", type=str.encode)
    parser.add_argument("--max-age", type=float, metavar="SECONDS")
    parser.add_argument("url")
    options = parser.parse_args()
    if urllib.parse.urlsplit(options.url).scheme not in ("http", "https"):
        parser.error(f"no http or https URL: {options.url}")
    method = options.request or ("GET" if options.data is None else "POST")
    try:
        verdict, response = fetch_verified(
            options.url, Policy(options.policy.read()), method, options.header,
            options.data or b"", options.max_age,
        )
    except NotVerified as reason:
        print(f"not verified[{reason.code}]: {reason}", file=sys.stderr)
        return 3
    except Refused as refused:
        print(f"refused{refused}", file=sys.stderr)
        return 1
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(response.body)
    print(verdict, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
