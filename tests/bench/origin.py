"""contrib/origin on the load's CPU: the server behind all contestants."""

import subprocess

import contestants as field


class Origin:
    """Runs until `with` ends; `port` is where it listens."""

    def __init__(self, build, *args):
        self.process = subprocess.Popen(
            [f"{build}/origin", "-w", "-n", "bench", *args, "127.0.0.1:0"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=field.pinned(field.cpus()[1]),
        )
        words = self.process.stdout.readline().split()
        if len(words) != 3:
            raise SystemExit("bench: the origin did not start")
        self.port = int(words[2].rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
