"""A load that is the same each time: one client, one request after the other, heads as browsers send them.

Nothing is timed here. Each answer is read whole before the next request goes out, so that the proxy wakes up for one
event at a time and its reads, writes and waits can be counted.
"""

import socket

import load

CHROME = [
    "Connection: keep-alive",
    'sec-ch-ua: "Chromium";v="128", "Not;A=Brand";v="24", "Google Chrome";v="128"',
    "sec-ch-ua-mobile: ?0",
    'sec-ch-ua-platform: "Windows"',
    "Upgrade-Insecure-Requests: 1",
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0 "
    "Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-Dest: document",
    "Referer: http://shop.example/catalogue/shoes?page=2&sort=price",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Cookie: session=9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c; consent=yes; theme=dark; basket=3",
]
FIREFOX = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://shop.example/catalogue/shoes",
    "Connection: keep-alive",
    "Cookie: session=0a1b2c3d4e5f60718293a4b5c6d7e8f9; consent=no",
    "Sec-Fetch-Dest: image",
    "Sec-Fetch-Mode: no-cors",
    "Sec-Fetch-Site: same-origin",
    "Priority: u=5, i",
]
SAFARI = [
    "Accept: */*",
    "Sec-Fetch-Site: same-origin",
    "Cookie: session=ffeeddccbbaa99887766554433221100; consent=yes",
    "Sec-Fetch-Mode: cors",
    "Accept-Language: fr-FR,fr;q=0.9",
    "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.6 Safari/605.1.15",
    "Referer: http://shop.example/account",
    "Accept-Encoding: gzip, deflate",
    "Sec-Fetch-Dest: empty",
    "Connection: keep-alive",
]
BROWSERS = [CHROME, FIREFOX, SAFARI]
UPLOAD = b"0123456789abcdef" * 1024


class Steady:
    """One kind of request. `log`: the proxy writes an access log; `is_kept`: all of them on one connection."""

    def __init__(self, name, title, target, body=b"", log=False, is_kept=True):
        self.name, self.title, self.log, self.is_kept = name, title, log, is_kept
        self.requests = [self._request(target, browser, body) for browser in BROWSERS]

    def _request(self, target, browser, body):
        lines = [f"{'POST' if body else 'GET'} {target} HTTP/1.1", "Host: shop.example"]
        lines += browser if self.is_kept else [field for field in browser if not field.startswith("Connection:")]
        if not self.is_kept:
            lines.append("Connection: close")
        if body:
            lines += ["Content-Type: application/octet-stream", f"Content-Length: {len(body)}"]
        return "\r\n".join(lines + ["", ""]).encode() + body

    def run(self, port, count):
        sock = None
        try:
            for number in range(count):
                sock = sock or socket.create_connection(("127.0.0.1", port), 30)
                sock.sendall(self.requests[number % len(self.requests)])
                load.read_answer(sock)
                if not self.is_kept:
                    while sock.recv(1):
                        raise ConnectionError("bytes behind the answer")
                    sock.close()
                    sock = None
        finally:
            if sock:
                sock.close()


LOADS = [
    Steady("keepalive", "GET, keep-alive, 1 KiB", "/size/1k"),
    Steady("log", "the same with an access log", "/size/1k", log=True),
    Steady("post", "POST of 16 KiB", "/size/2", body=UPLOAD),
    Steady("close", "a connection a request, 1 KiB", "/size/1k", is_kept=False),
]
