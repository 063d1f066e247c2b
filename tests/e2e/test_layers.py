"""tests/layers.py itself: a made-up house that stands, and each offence in it, found at its line."""

import importlib.util
import pathlib

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent / "layers.py"
spec = importlib.util.spec_from_file_location("layers", SCRIPT)
layers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(layers)

HOUSE = {
    "include/loomgate/base/mem.h": "#include <stddef.h>\n",
    "include/loomgate/base/log.h": '#include "loomgate/base/mem.h"\n',
    "include/loomgate/base/rows.def": "",
    "src/base/mem.c": '#include "loomgate/base/mem.h"\n\n#include "loomgate/base/rows.def"\n',
    "src/base/log.c": '/* x */\n#include "loomgate/base/log.h"\n\n#include "log_internal.h"\n',
    "src/base/log_internal.h": '#include "loomgate/base/log.h"\n',
    "src/base/log_ring.c": '#include "log_internal.h"\n\n#include "loomgate/base/mem.h"\n',
    "include/loomgate/config/yaml.h": "",
    "src/config/yaml.c": '#include "loomgate/config/yaml.h"\n\n#include "loomgate/base/log.h"\n#include <yaml.h>\n',
    "include/loomgate/stats/metrics.h": "",
    "src/stats/metrics.c": '#include "loomgate/stats/metrics.h"\n',
    "include/loomgate/http/codec.h": '#include "loomgate/config/yaml.h"\n#include "loomgate/stats/metrics.h"\n',
    "src/http/codec.c": '#include "loomgate/http/codec.h"\n#include <llhttp.h>\n',
    "src/main.c": '#include "loomgate/http/codec.h"\n#include "loomgate/base/log.h"\n',
}


def build(root, changes=None):
    for name, text in {**HOUSE, **(changes or {})}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return layers.Tree(root)


def test_good_house(tmp_path):
    tree = build(tmp_path)
    assert tree.check() == []
    assert "base 3 < config 1, stats 1 < http 1 < main.c" in tree.drawing()
    assert "http > config stats" in tree.drawing()


MEM, LOG = '#include "loomgate/base/mem.h"\n', '#include "loomgate/base/log.h"\n'
METRICS = '#include "loomgate/stats/metrics.h"\n'


@pytest.mark.parametrize(
    "name, text, offence",
    [
        ("src/base/mem.c", MEM + METRICS, "src/base/mem.c:2: base must not reach up into stats"),
        ("include/loomgate/config/yaml.h", METRICS, "include/loomgate/config/yaml.h:1: config must not reach over"),
        ("include/loomgate/base/mem.h", "\n" + LOG, "closes a circle in base: "),
        ("src/base/mem.c", MEM + LOG, "closes a circle in base: "),
        ("src/base/mem.c", MEM + '#include "loomgate/base/gone.h"\n', ':2: "loomgate/base/gone.h" is not'),
        ("src/base/mem.c", MEM + '#include "mem.h"\n', 'src/base/mem.c:2: "mem.h" is neither'),
        ("src/base/mem.c", "#include <stddef.h>\n" + MEM, "src/base/mem.c:1: its own header comes first"),
        ("src/base/log.c", MEM + LOG, "src/base/log.c:1: its own header comes first"),
        ("src/base/mem.c", MEM + '#include "log_internal.h"\n', "closes a circle in base: "),
        ("src/base/log_internal.h", METRICS, "src/base/log_internal.h:1: base must not reach up into stats"),
        ("src/base/alone.c", "#include <stddef.h>\n", "src/base/alone.c:1: has no header"),
        ("src/stats/metrics.c", METRICS + "#include <yaml.h>\n", "src/stats/metrics.c:2: <yaml.h> is only for"),
        ("src/stats/metrics.c", METRICS + "#  include <llhttp.h>\n", "src/stats/metrics.c:2: <llhttp.h> is only for"),
        ("src/http/codec.c", '#include "loomgate/http/codec.h"\n#include <cjson/cJSON.h>\n', ":2: <cjson/cJSON.h> is"),
        ("src/cellar/wine.c", "", "src/cellar/wine.c:1: there is no area 'cellar'"),
        ("src/base/mem.h", "", "src/base/mem.h:1: is neither"),
        ("include/loomgate/base/log.h", '#include "log_internal.h"\n', '"log_internal.h" is neither'),
    ],
)
def test_offences(tmp_path, name, text, offence):
    offences = build(tmp_path, {name: text}).check()
    assert any(offence in found for found in offences), offences
    assert len(offences) == 1
