#!/usr/bin/python3
"""The traffic from which `make pgo` learns what LoomGate's paths are: a fixed number of requests of each kind.

The program under training must end by itself (SIGTERM) to write what it has counted.

    train.py BUILD_FOLDER
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from contestants import free_port, wait_for_port  # noqa: E402  (after the bytecode switch)
from load import read_answer  # noqa: E402

ROUNDS = 1000
BROWSER = """Host: www.example.com\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r
Accept-Encoding: gzip, deflate, br\r
Accept-Language: en-GB,en;q=0.9\r
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r
Referer: https://www.example.com/list?page=2\r
"""
PLAIN = "Host: localhost\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n"
CONFIG = """version: 1
global: {workers: 1, log: {level: warn, to: "file:%(folder)s/process.log"}}
frontends:
  web:
    bind: ["127.0.0.1:%(port)d"]
    access_log: {to: "file:%(folder)s/access.log", format: json}
    default_backend: app
  quiet: {bind: ["127.0.0.1:%(quiet)d"], default_backend: app}
  raw: {mode: tcp, bind: ["127.0.0.1:%(raw)d"], default_backend: raw}
backends:
  app: {servers: ["%(origin)s"], health: {http: {path: /size/2}, interval: 1s}}
  raw: {servers: ["%(origin)s"]}
"""


def request(target, head=PLAIN, method="GET", body=b"", close=False):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    last = "Connection: close\r\n" if close else ""
    return f"{method} {target} HTTP/1.1\r\n{head}{length}{last}\r\n".encode() + body


def kinds():
    """(requests of a round on one connection, whether it is a fresh one each time, rounds)"""
    yield [request("/size/1k"), request("/size/1k", BROWSER), request("/size/100?q=1", BROWSER)], False, ROUNDS
    yield [request("/sink", BROWSER, "POST", bytes(16384)), request("/size/2", method="HEAD")], False, ROUNDS
    yield [request("/size/1k", close=True)], True, ROUNDS
    yield [request("/size/64k", BROWSER)], False, ROUNDS // 4
    yield [request("/size/1m")], False, ROUNDS // 20


def exchange(sock, data):
    sock.sendall(data)
    if data.startswith(b"HEAD"):
        while not sock.recv(4096).endswith(b"\r\n\r\n"):
            continue
    else:
        read_answer(sock)


def load(port):
    for requests, fresh, rounds in kinds():
        sock = None
        for _ in range(rounds):
            if fresh or not sock:
                sock = socket.create_connection(("127.0.0.1", port), 10)
            for data in requests:
                exchange(sock, data)
            if fresh:
                sock.close()
        sock.close()


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    origin = subprocess.Popen([build / "origin", "-w", "-n", "train", "127.0.0.1:0"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="loomgate-train-") as folder:
        ports = {name: free_port() for name in ("port", "quiet", "raw")}
        path = pathlib.Path(folder) / "loomgate.yaml"
        path.write_text(CONFIG % {**ports, "folder": folder, "origin": origin.stdout.readline().split()[2]})
        proxy = subprocess.Popen([build / "loomgate", "-f", path])
        try:
            for port in ports.values():
                wait_for_port(port, proxy, "loomgate")
                load(port)
            proxy.send_signal(signal.SIGTERM)
            if proxy.wait(60) != 0:
                raise SystemExit("train: loomgate failed")
        finally:
            proxy.kill()
            proxy.wait()
            origin.terminate()
            origin.wait()
    print(f"train: {os.path.relpath(build)}/loomgate has seen its load")


main()
