"""A whole call through the program under callgrind: what bench/instructions counts, and bench/order puts in order."""

import json
import re
import socket
import subprocess
import threading

import kit
from kit import Failed, Stage

CALLGRIND = ["valgrind", "--tool=callgrind"]


def answer(listener):
    """The provider: the same answer for each call."""
    body = json.dumps({"data": [{"id": number, "name": "repository"} for number in range(30)]}).encode()
    fields = ["date: Mon, 05 Jan 2026 12:00:00 GMT", "content-type: application/json", f"content-length: {len(body)}"]
    fields += ["server: api", "cache-control: private, max-age=60", "vary: Accept", 'etag: "644b5b0155e6404a9cc4bd9d8b1ae730"']
    fields += ["x-ratelimit-limit: 5000", "x-ratelimit-remaining: 4987", f"x-ratelimit-reset: {int(kit.time.time()) + 3500}"]
    fields += ["x-request-id: 9A1C:2B4F:1D2E3F", "x-content-type-options: nosniff"]
    whole = "\r\n".join(["HTTP/1.1 200 OK", *fields, "", ""]).encode() + body

    def serve(connection):
        with connection:
            while b"\r\n\r\n" in connection.recv(65536):
                connection.sendall(whole)

    while True:
        try:
            threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
        except OSError:  # Closed: the end.
            return


def threads(programs, warm=500, calls=1000, options=()):
    """What callgrind tells of each thread after so many calls one after the other: instructions and its text, the thread that
    served first."""
    with Stage(programs) as stage, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=[listener], daemon=True).start()
        stage.port = listener.getsockname()[1]
        profile = stage.folder / "callgrind"
        under = [*CALLGRIND, "--separate-threads=yes", *options, f"--callgrind-out-file={profile}"]
        server = stage.headroom(under=under)
        server.ready(120)
        server.check()

        def control(option):
            subprocess.run(["callgrind_control", option, str(server.process.pid)], check=True, capture_output=True, timeout=60)

        with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sent = kit.request(server.path, server.fields)
            for number in range(warm + calls):
                if number == warm:
                    control("-z")
                status, _ = kit.exchange(connection, sent)
                if status != 200:
                    raise Failed(f"headroom answers {status}:\n{kit.read(server.log)[-2000:]}")
            control("-d")
        # Of each thread a file for each mark.
        texts = map(kit.read, stage.folder.glob("callgrind.*-*"))
        told = [(int(re.search(r"^(?:totals|summary): (\d+)", text, re.M)[1]), text) for text in texts]
        if not told:
            raise Failed("callgrind has written nothing")
        return sorted(told, reverse=True)
