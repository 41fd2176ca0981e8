"""Long answers: a large one, and many that are silent."""

import contextlib
import multiprocessing
import resource
import selectors
import socket
import time

import kit
from kit import MIB, median, say

LARGE = 1 << 30
SILENT = 10_000


@contextlib.contextmanager
def opened(server, count):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 30)) for _ in range(count)]


def download(server, path):
    """Seconds for the whole of it, and by how many bytes the proxy's memory grew at its peak."""
    server.forget_peak()
    before, begun = server.peak(), time.perf_counter()
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(kit.request(path, server.fields))
        status, _, rest = kit.head(connection)
        left, buffer = LARGE - len(rest), bytearray(MIB)
        while left and (count := connection.recv_into(buffer, min(left, MIB))):
            left -= count
    if status != 200 or left:
        raise kit.Failed(f"{server.name} answers a download with {status}, and {left} bytes are missing")
    return time.perf_counter() - begun, server.peak() - before


def downloads(stage, rounds):
    """1 GiB, of a file without content, so that no disk is in it."""
    with open(stage.folder / "large", "wb") as file:
        file.truncate(LARGE)
    servers = {"nginx": stage.nginx(), "headroom": stage.headroom()}
    seen = {name: [] for name in servers}
    for server in servers.values():
        server.ready()
    for _ in range(rounds):
        for name, server in servers.items():
            worked = server.cpu()
            took, grown = download(server, "/bench/large" if name == "headroom" else "/large")
            seen[name].append((LARGE / MIB / took, server.cpu() - worked, grown / MIB))
            say("  {:<12} {:7.0f} MiB/s, {:.2f} s of processor, {:.1f} MiB grown".format(name, *seen[name][-1]))
    ratio = lambda name, what: median(one[what] / other[what] for one, other in zip(seen[name], seen["nginx"]))
    rows = []
    for name, told in seen.items():
        rates, worked, grown = zip(*told)
        cells = [f"{median(rates):,.0f} ({ratio(name, 0):.2f})", f"{median(worked):.2f} ({ratio(name, 1):.2f})"]
        rows.append([name, *cells, f"{max(grown):.1f}"])
        stage.stop(servers[name])
    print("\nA download of 1 GiB, one at a time (to nginx in the same round).\n")
    print(kit.table(["", "MiB/s", "s of processor", "memory grown at the most, MiB"], rows))
    return 0


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nc\r\ndata: hello\n\r\n"


def provide(listener):
    """A provider that sends one event on each connection, and then nothing. A process of its own, for its files."""
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                elif b"\r\n\r\n" in key.fileobj.recv(65536):
                    key.fileobj.sendall(ANSWER)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


@contextlib.contextmanager
def provider():
    """Its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        process = multiprocessing.get_context("fork").Process(target=provide, args=[listener], daemon=True)
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def silent(stage):
    """What 10,000 streams take, of which each has had one event; fewer where not so many files may be open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    count = min(SILENT, (files - 200) // 2)
    limits = f"[limits]\nconcurrent_calls = {2 * count}\nconnections_per_origin = {2 * count}"
    rows = []
    with provider() as port:
        stage.port = port
        for server in (stage.nginx("nginx, streams", connections=4 * count), stage.headroom("headroom, streams", limits=limits)):
            wait_for(server)
            before, worked = server.memory(), server.cpu()
            with opened(server, count) as callers:
                for caller in callers:
                    caller.sendall(kit.request(server.path, server.fields))
                    first_event(server, caller)
                opening, worked = server.cpu() - worked, server.cpu()
                time.sleep(5)
                silent = (server.cpu() - worked) / 5
                each = (server.memory() - before) / 1024 / count
            rows.append([server.name, f"{each:.1f}", f"{opening * 1e6 / count:.0f}", f"{silent * 100:.2f}"])
            say(f"  {' '.join(rows[-1])}")
            stage.stop(server)
    print(f"\n{count:,} streams of server-sent events, silent.\n")
    print(kit.table(["", "KiB each", "µs of processor to open each", "% of a processor while silent"], rows))
    return 0


def first_event(server, caller):
    status, _, rest = kit.head(caller)
    while status == 200 and b"data: hello" not in rest:
        piece = caller.recv(4096)
        if not piece:
            break
        rest += piece
    if b"data: hello" not in rest:
        raise kit.Failed(f"{server.name} answers a stream with {status} and {rest!r}")


def wait_for(server):
    """Until it listens: the provider of streams has no short answer."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.01)
    raise kit.Failed(f"{server.name} does not listen:\n{kit.read(server.log)[-2000:]}")
