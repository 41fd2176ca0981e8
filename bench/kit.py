"""What bench/run, bench/instructions and bench/order share: servers on loopback that are started and stopped here, calls, and
what a process has used. Python's standard library only; Linux only (/proc)."""

import contextlib
import hashlib
import json
import os
import pathlib
import resource
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PROGRAMS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
MIB = 1 << 20
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "wrk": "wrk", "openssl": "openssl", "valgrind": "valgrind"}
PACKAGES |= dict.fromkeys(["nm", "readelf"], "binutils")


class Failed(Exception):
    """Something that whoever runs this should read, without a traceback."""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def require(*commands):
    # nginx and haproxy are in sbin, which is not in every user's path.
    os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
    missing = dict.fromkeys(PACKAGES[command] for command in commands if not shutil.which(command))
    if missing:
        raise Failed(f"missing; on Debian: apt-get install --no-install-recommends {' '.join(missing)}")


def build(profile, tool):
    """The program, and what is in bench/ with it; the folder they are in."""
    command = ["cargo", "build", "--locked", "--quiet", "--profile", profile, "--features", "bench"]
    subprocess.run([*command, "--bin", "headroom", "--bin", tool], cwd=ROOT, check=True)
    return PROGRAMS / profile


def run(main):
    """The whole script: what it started ends with it, however it ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except (Failed, subprocess.CalledProcessError) as error:
        sys.exit(f"{sys.argv[0]}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


# Processes


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:  # It ended meanwhile.
        return ""


class Server:
    """A process with its children, on a port of its own."""

    def __init__(self, name, command, port, log, path="/v1/items?page=2", fields=()):
        self.name, self.port, self.path, self.fields, self.log = name, port, path, fields, log
        self.begun = time.perf_counter()
        with open(log, "ab") as output:
            streams = dict(stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            self.process = subprocess.Popen(command, start_new_session=True, **streams)

    def pids(self):
        """Its own and its children's; workers have no children here."""
        pid = self.process.pid
        children = read(f"/proc/{pid}/task/{pid}/children").split()
        return [pid, *map(int, children)]

    def ready(self, limit=30):
        """Seconds from its start to its first 200."""
        while time.perf_counter() < self.begun + limit:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self.get()[0] == 200:
                    return time.perf_counter() - self.begun
            time.sleep(0.0005)
        raise Failed(f"{self.name} does not answer:\n{read(self.log)[-2000:]}")

    def get(self):
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            return exchange(connection, request(self.path, self.fields))

    def check(self, dressed=True):
        """Before anything is measured: 200, and the three fields in integers."""
        status, fields = self.get()
        if status != 200:
            raise Failed(f"{self.name} answers {status}:\n{read(self.log)[-2000:]}")
        numbers = [fields.get(f"ratelimit-{what}", "").split(";")[0] for what in ("limit", "remaining", "reset")]
        if dressed and not (numbers[0] == "5000" and numbers[1].isdigit() and int(numbers[1]) <= 4987 and numbers[2].isdigit()):
            raise Failed(f"{self.name} answers with ratelimit fields {numbers}")

    def cpu(self):
        """Seconds on a processor, to the nanosecond."""
        tasks = [task for pid in self.pids() for task in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return sum(int((read(task).split() or ["0"])[0]) for task in tasks) / 1e9

    def memory(self):
        """Bytes that are resident; what its processes share counts once."""
        lines = [line for pid in self.pids() for line in read(f"/proc/{pid}/smaps_rollup").splitlines()]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    def forget_peak(self):
        for pid in self.pids():
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def peak(self):
        """Bytes that were resident at the most since then; pages that processes share count for each."""
        lines = [line for pid in self.pids() for line in read(f"/proc/{pid}/status").splitlines()]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    def stop(self):
        pids = self.pids()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()


# Calls


def request(path, fields=()):
    lines = [f"GET {path} HTTP/1.1", "host: 127.0.0.1", "accept: */*", *fields]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


def head(connection):
    """Status and fields of an answer, and what came of its body with them."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed before the end of a head")
        got += piece
    text, _, rest = got.partition(b"\r\n\r\n")
    status, *lines = text.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), fields, rest


def exchange(connection, sent):
    connection.sendall(sent)
    status, fields, rest = head(connection)
    missing = int(fields["content-length"]) - len(rest)
    while missing:
        piece = connection.recv(min(missing, MIB))
        if not piece:
            raise ConnectionError("closed before the end of a body")
        missing -= len(piece)
    return status, fields


def saturate(server, connections, seconds, script=None):
    """wrk, as fast as it goes; answered calls, errors, and microseconds of processor that the server used for a call."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s"]
    for field in server.fields:
        command += ["-H", field]
    if script:
        command += ["-s", HERE / "requests.lua"]
    command += [f"http://127.0.0.1:{server.port}{server.path}", *(["--", *map(str, script)] if script else [])]
    begun = server.cpu()
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    used = server.cpu() - begun
    done = errors = 0
    for line in output.splitlines():
        words = line.replace(",", "").split()
        if " requests in " in line:
            done = int(words[0])
        elif "Non-2xx" in line:
            errors += int(words[-1])
        elif "Socket errors" in line:
            errors += sum(int(word) for word in words if word.isdigit())
    return {"done": done - errors, "errors": errors, "cpu": used * 1e6 / max(done - errors, 1)}


def paced(programs, server, rate, connections, seconds):
    """Calls at a fixed rate, each at its time; also p50 and p99 in microseconds from when each was due. What the server uses to
    open and close connections does not count."""
    # Its own delays would be told as the proxy's.
    command = ["nice", "-n", "-10"] if os.geteuid() == 0 else []
    command += [programs / "headroom-load", server.port, server.path, rate, connections, seconds, *server.fields]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as load:
        watch = threading.Timer(seconds + 60, load.kill)
        watch.start()
        load.stdout.readline()
        begun = server.cpu()
        result = load.stdout.readline()
        used = server.cpu() - begun
        watch.cancel()
    if load.returncode:
        raise subprocess.CalledProcessError(load.returncode, command)
    told = json.loads(result)
    return told | {"cpu": used * 1e6 / max(told["done"], 1)}


# A stage: a folder, an upstream, and proxies before it


class Stage:
    def __init__(self, programs):
        self.programs, self.servers, self.issued = programs, [], {}
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        with contextlib.suppress(ValueError, OSError):  # Who is not root has to live with what is allowed.
            most = max(most, 65536)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="headroom-bench-"))
        # nginx's workers give up root, and have to read what they serve.
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *_):
        for server in reversed(self.servers):
            server.stop()
        shutil.rmtree(self.folder)

    def start(self, name, command, port, **more):
        log = self.folder / f"{slug(name)}.log"
        server = Server(name, list(map(str, command)), port, log, **more)
        self.servers.append(server)
        return server

    def stop(self, server):
        self.servers.remove(server)
        server.stop()

    def written(self, template, **values):
        """A configuration with its @names@ filled in."""
        text = (HERE / "conf" / template).read_text()
        for name, value in {"folder": self.folder, **values}.items():
            text = text.replace(f"@{name}@", str(value))
        path = self.folder / f"{values['name']}.conf"
        path.write_text(text)
        return path

    def upstream(self):
        """The provider; its port, and its port with TLS."""
        self.certificate = self.folder / "certificate.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", self.folder / "key.pem", "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        row = '{"id":100001,"name":"repository","private":false,"stars":37,"language":"Rust","updated_at":"2026-01-05T12:00:00Z"}'
        body = '{"data":[%s],"next":"cursor"}' % ",".join([row] * 8)
        self.port, self.tls = free_port(), free_port()
        values = dict(name="upstream", port=self.port, tls=self.tls, body=body, reset=int(time.time()) + 3500)
        config = self.written("upstream.conf", **values)
        self.start("upstream", ["nginx", "-p", self.folder, "-c", config], self.port).ready()

    def nginx(self, name="nginx", dressed=True, tls=False, connections=8192):
        more = [f"add_header ratelimit-{what} $upstream_http_x_ratelimit_{what};" for what in ("limit", "remaining", "reset")]
        more = more if dressed else []
        if tls:
            more += ["proxy_ssl_name localhost; proxy_ssl_verify on;", f"proxy_ssl_trusted_certificate {self.certificate};"]
        values = dict(scheme="https", upstream=self.tls) if tls else dict(scheme="http", upstream=self.port)
        values |= dict(port=free_port(), connections=connections, more=" ".join(more))
        config = self.written("nginx.conf", name=slug(name), **values)
        return self.start(name, ["nginx", "-p", self.folder, "-c", config], values["port"])

    def haproxy(self, name="HAProxy", connections=8192, template="haproxy.cfg"):
        port = free_port()
        config = self.written(template, name=slug(name), port=port, upstream=self.port, connections=connections)
        return self.start(name, ["haproxy", "-db", "-f", config], port)

    def headroom(self, name="headroom", consumers=1, upstream=None, limits="", adapter="", under=()):
        """With everything on: consumers with keys, meters, translation, history, metrics. A restart finds its state."""
        folder = self.folder / slug(name)
        providers = folder / "providers"
        if not folder.exists():
            providers.mkdir(parents=True)
            (providers / "benchapi.toml").write_text((HERE / "conf" / "benchapi.toml").read_text() + adapter)
            keys = [f"hr_{secrets.token_urlsafe(32)}" for _ in range(consumers)]
            (folder / "keys").write_text("\n".join(keys))
            upstream = upstream or f"http://127.0.0.1:{self.port}"
            config = f'providers = ["providers"]\n{limits}\n[connections.bench]\nprovider = "benchapi"\nbase_url = "{upstream}"\n'
            for number, key in enumerate(keys):
                config += f'[consumers.c{number}]\nkey_hash = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
            (folder / "headroom.toml").write_text(config)
        key = (folder / "keys").read_text().splitlines()[0]
        port = free_port()
        command = [*under, self.programs / "headroom", "serve", "--config", folder / "headroom.toml"]
        command += ["--listen", f"127.0.0.1:{port}", "--state-dir", folder / "state"]
        command += ["--ca-file", self.certificate] if (upstream or "").startswith("https") else []
        fields = [f"headroom-key: {key}", "authorization: Bearer sk-0123456789abcdef"]
        return self.start(name, command, port, path="/bench/v1/items?page=2", fields=fields)

    def keys(self, server):
        return self.folder / slug(server.name) / "keys"


def slug(name):
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def table(heads, rows):
    """Lines of a Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [heads, ["---"] * len(heads), *rows])


median = statistics.median
