"""What a live test does to the requests of a client on their way to its server.

Run by mitmdump as a reverse proxy. A test speaks to it over HTTP, at paths that
no homeserver has; helper-proxy.R is the other side and says what each fault is.

    POST /_proxy/rules     a rule, see Faults.request() and Faults.response()
    POST /_proxy/release   lets go what is delayed; those rules are forgotten
    POST /_proxy/clear     the same, and forgets all rules and requests
    GET  /_proxy/seen      all requests, in the order in which they came
"""

import asyncio
import json
import re
import time
from urllib.parse import unquote

from mitmproxy import http


def is_control(flow):
    return flow.request.path.startswith("/_proxy/")


class Faults:
    def __init__(self):
        self.rules = []
        self.seen = []

    async def request(self, flow):
        if is_control(flow):
            flow.response = self.control(flow.request)
            return
        seen = {
            "method": flow.request.method,
            "path": unquote(flow.request.path),
            "body": flow.request.get_text(),
            "fault": "",
            "held": False,
            "status": None,
            "answer": None,
            "began": time.monotonic(),
            "ended": None,
        }
        flow.metadata["seen"] = seen
        self.seen.append(seen)
        if rule := self.due(flow, "delay_request"):
            await self.delay(rule, seen)
        if rule := self.due(flow, "answer"):
            flow.response = answer(rule["status"], rule["body"])

    async def response(self, flow):
        # What the server did not answer itself is let through as it is.
        if is_control(flow) or flow.metadata["seen"]["fault"] == "answer":
            return
        seen = flow.metadata["seen"]
        seen["ended"] = time.monotonic()
        seen["status"] = flow.response.status_code
        seen["answer"] = flow.response.get_text()
        self.rewrite(flow)
        if rule := self.due(flow, "delay"):
            await self.delay(rule, seen)
        if self.due(flow, "lose_answer"):
            flow.kill()

    def error(self, flow):
        if seen := flow.metadata.get("seen"):
            seen["ended"] = time.monotonic()

    def rewrite(self, flow):
        """Replaces in the JSON text of an answer, members in alphabetical order."""
        for rule in self.matching(flow, "rewrite"):
            try:
                text = json.dumps(json.loads(flow.response.get_text()), sort_keys=True)
            except ValueError:
                continue
            text, found = re.subn(rule["from"], rule["to"], text)
            if found:
                self.use(rule, flow)
                flow.response.text = text

    async def delay(self, rule, seen):
        seen["held"] = True
        try:
            await asyncio.wait_for(rule["released"].wait(), rule["seconds"])
        except asyncio.TimeoutError:
            pass
        seen["held"] = False

    def matching(self, flow, fault):
        what = f"{flow.metadata['seen']['method']} {flow.metadata['seen']['path']}"
        return [
            rule
            for rule in self.rules
            if rule["fault"] == fault
            and rule["times"] > 0
            and re.search(rule["pattern"], what)
        ]

    def due(self, flow, fault):
        for rule in self.matching(flow, fault):
            self.use(rule, flow)
            return rule

    def use(self, rule, flow):
        rule["times"] -= 1
        flow.metadata["seen"]["fault"] = rule["fault"]

    def control(self, request):
        what = request.path.removeprefix("/_proxy/")
        if what == "rules":
            rule = json.loads(request.get_text())
            self.rules.append(rule | {"released": asyncio.Event()})
        elif what in ("release", "clear"):
            for rule in self.rules:
                rule["released"].set()
            self.rules = [r for r in self.rules if "delay" not in r["fault"]]
            if what == "clear":
                self.rules, self.seen = [], []
        return answer(200, json.dumps(self.seen if what == "seen" else {}))


def answer(status, body):
    return http.Response.make(status, body, {"Content-Type": "application/json"})


addons = [Faults()]
