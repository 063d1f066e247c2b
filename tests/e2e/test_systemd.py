"""The unit of contrib/systemd: systemd understands it, and it gives away no more rights than it has to."""

import re
import shutil
import subprocess

import pytest
from support import LOOMGATE_BIN, ROOT, TIMEOUT

UNITS = ROOT / "contrib" / "systemd"
MOST_EXPOSED = "20"  # of systemd's scale to 100; a service without any restriction has 96


def analyze(*args):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    return subprocess.run(["systemd-analyze", *map(str, args)], capture_output=True, text=True, timeout=TIMEOUT)


@pytest.fixture
def service(tmp_path):
    """The unit as it is, but for the program, which must be there to be found good."""
    text = (UNITS / "loomgate.service").read_text()
    installed = re.search(r"^ExecStart=(\S+) ", text, re.M)[1]
    (tmp_path / "loomgate.service").write_text(text.replace(installed, str(LOOMGATE_BIN)))
    return tmp_path / "loomgate.service"


def test_the_unit_is_understood(service):
    done = analyze("verify", "--man=no", service)
    assert done.returncode == 0 and not done.stdout + done.stderr


def test_a_mistake_would_be_found(service):
    service.write_text(service.read_text().replace("Type=notify", "Type=notfiy"))
    assert "notfiy" in analyze("verify", "--man=no", service).stderr


def test_exposure_is_low(service):
    if int(re.search(r"systemd (\d+)", analyze("--version").stdout)[1]) < 250:
        pytest.skip("this systemd-analyze cannot look at a file alone")
    done = analyze("security", "--offline=yes", f"--threshold={MOST_EXPOSED}", service)
    assert done.returncode == 0, done.stdout[-400:]
