"""What a live test has to know of a forward proxy between a client and its server.

Run by mitmdump as a proxy of a company, which resolves names that nobody else knows.
helper-network.R is the other side.

    FORWARD_SEEN    a file: a line of JSON for each request that the proxy could read
    FORWARD_PORT    the port on loopback behind the name homeserver.test

Its rules do not allow forbidden.test. Where it opens TLS, a download of `redirected` is
redirected to content.test, which it answers for itself.
"""

import json
import os

from mitmproxy import http

SEEN = os.environ["FORWARD_SEEN"]
PORT = int(os.environ["FORWARD_PORT"])


class Forward:
    def http_connect(self, flow):
        note("CONNECT", flow)
        if flow.request.pretty_host == "forbidden.test":
            flow.response = http.Response.make(403, "<html>Not at work</html>")

    def request(self, flow):
        note(flow.request.method, flow)
        if flow.request.pretty_host == "content.test":
            flow.response = http.Response.make(200, "from elsewhere")
        elif "/download/localhost/redirected" in flow.request.path:
            there = {"Location": "https://content.test/file"}
            flow.response = http.Response.make(302, "", there)

    def server_connect(self, data):
        if data.server.address[0] == "homeserver.test":
            data.server.address = ("127.0.0.1", PORT)


def note(method, flow):
    headers = {name.lower(): value for name, value in flow.request.headers.items()}
    line = {
        "method": method,
        "host": flow.request.pretty_host,
        "path": flow.request.path,
        "authorization": headers.get("authorization"),
        "proxy_authorization": headers.get("proxy-authorization"),
    }
    with open(SEEN, "a") as file:
        file.write(json.dumps(line) + "\n")


addons = [Forward()]
