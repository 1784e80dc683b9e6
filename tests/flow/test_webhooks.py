"""A real proxy that is killed between its entries and its receiver: what was held is told all the same, and once."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.flow.served import Served, until

from pgnotary.ledger.signing_key import parse_skey
from pgnotary.notify.signature import public_text
from pgnotary.request.decision import Answer
from pgnotary.webhook import webhook_seed

DELETE = "DELETE FROM orders WHERE id <= 10"


class Receiver(ThreadingHTTPServer):
    """Answers with `status`, and remembers what came (id, body) and what it took."""

    def __init__(self) -> None:
        self.status = 500
        self.came: list[tuple[str, bytes]] = []
        self.took: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def said(self) -> list[tuple[str, str]]:
        """Type and request of what it took, as one that remembers ids and bytes."""
        found = [json.loads(body) for _, body in dict.fromkeys(self.took)]
        return [(each["type"], each["data"]["request"]) for each in found]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        message = self.headers["webhook-id"], self.rfile.read(int(self.headers["content-length"]))
        self.server.came.append(message)
        if self.server.status == 200:
            self.server.took.append(message)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def test_a_kill_between_an_entry_and_its_receiver_loses_nothing_and_doubles_nothing(
    own_proxy: Served, database: str
) -> None:
    with receiving() as receiver:
        own_proxy.stop()
        with own_proxy.config.open("a") as file:
            file.write(f'\n[[webhook]]\nname = "oncall"\nurl = "http://127.0.0.1:{receiver.server_port}/hook"\n')
        own_proxy.start()
        with own_proxy.open_psql(database, "-c", DELETE) as psql:
            lost = own_proxy.held().id
            until(lambda: receiver.came, "an attempt in vain")
            own_proxy.stop(signal.SIGKILL)
            psql.communicate(timeout=30)
        assert not receiver.took
        receiver.status = 200
        own_proxy.start()
        until(lambda: len(receiver.took) == 2, "what was untold")
        assert receiver.said == [("request.held", lost), ("request.ended", lost)]
        with own_proxy.open_psql(database, "-c", DELETE) as psql:
            paper = own_proxy.held()
            until(lambda: len(receiver.took) == 3, "the second hold")
            own_proxy.decide(paper, Answer.APPROVE)
            psql.communicate(timeout=30)
        until(lambda: len(receiver.took) == 5, "how it went")
        own_proxy.stop(signal.SIGKILL)
        own_proxy.start()
        with own_proxy.config.open("a") as file:
            file.write('[[webhook]]\nname = "other"\nurl = "https://hooks.example.com"\n')
        assert own_proxy.process is not None
        own_proxy.process.send_signal(signal.SIGHUP)
        until(lambda: "webhook has changed in the file; that takes a restart" in own_proxy.log, "a line in the log")
        own_proxy.stop()
        assert receiver.said[2:] == [(f"request.{each}", paper.id) for each in ("held", "decided", "ended")]
        # Killed behind an answer, before that was durable, it sends that one message again, the same under the same id.
        assert len({id_ for id_, _ in receiver.took}) == 5
        assert len(receiver.took) <= 6
        # What was tried in vain before the kill is what arrived behind it.
        assert receiver.came[0] == receiver.took[0]
        assert not any(b"DELETE" in body for _, body in receiver.came)
    seed = parse_skey((own_proxy.folder / "proxy.key").read_text()).seed
    assert public_text(webhook_seed(seed, "oncall")) in own_proxy.pgnotary(
        "webhooks", "--config", str(own_proxy.config)
    )
    own_proxy.pgnotary("verify")
