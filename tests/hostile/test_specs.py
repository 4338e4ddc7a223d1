"""Specs that nobody means well with: each is refused in one line, before anything is written."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path

import pytest

from sweeps.spec.reading import LARGEST, parse
from tests.hostile.command import SPEC, Gradsweep
from trainers.errors import SpecError

pytestmark = pytest.mark.timeout(600)

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BOMBS = {
    "billion laughs": LAUGHS,
    "billion laughs in a spec": SPEC + "question: *i\n" + LAUGHS,
    "an anchor that holds itself": "name: &x [*x]\n",
    "a merge of itself": "base: &b {epochs: 1}\narms: {plain: {<<: *b}}\n",
    "one alias": "name: &n x\nclaim: *n\n",
    "a long alias": f"name: &{'n' * 5000} x\nclaim: *{'n' * 5000}\n",
    "an alias of nothing": "name: *x\n",
    "50 lists": "[" * 50,
    "a million lists": "[" * 1_000_000,
    "a million mappings": "{a: " * 250_000,
    "a thousand lists, closed": "[" * 1000 + "]" * 1000,
    "lists in a block": "".join(" " * i + "-\n" for i in range(500)),
    "lists in a line": "- " * 1000,
    "keys as keys": "? " * 1000,
    "mappings in a block": "".join(" " * i + "a:\n" for i in range(500)),
    "deep in a spec": SPEC + "base: " + "{a: " * 100 + "}" * 100,
    "deep in a --set's place": SPEC + "question: " + "[" * 30 + "]" * 30,
    "200,000 documents": "---\n" * 200_000,
    "two documents": SPEC + "---\n" + SPEC,
    "10,000 digits": SPEC + f"claim: {'9' * 10_000}\n",
    "10,000 hexadecimal digits": SPEC + f"claim: 0x{'f' * 10_000}\n",
    "a number of 100,000 digits after the point": SPEC.replace("epochs: 1", f"learning_rate: -0.{'1' * 100_000}"),
    "a key of half a megabyte": SPEC + "k" * 500_000 + ": 1\n",
    "a name of half a megabyte": SPEC.replace("name: x", "name: " + "n" * 500_000),
    "3,000 keys": SPEC + "".join(f"k{i}: 1\n" for i in range(3_000)),
    "3,000 keys in base": SPEC.replace("epochs: 1", ", ".join(f"k{i}: 1" for i in range(3_000))),
    "50,000 keys": SPEC + "".join(f"k{i}: 1\n" for i in range(50_000)),
    "100,000 seeds": SPEC.replace("seeds: 1", f"seeds: {list(range(100_000))}"),
    "the same key, 50,000 times": SPEC + "name: x\n" * 50_000,
    "10,000 values of a choice, the last of them twice": SPEC
    + f"search: {{configurations: 2, space: {{r: {[i / 7 for i in range(10_000)] + [0.0]}}}}}\n",
    "a grid of 10^12 points": SPEC
    + "search: {space: {alpha: {low: 1, high: 2}, r: {low: 0, high: 1}}, sampler: {name: grid, points: 1000000}}\n",
    "a grid of 10^18 points": SPEC
    + "search: {space: {epochs: {low: 1, high: 999999999}, batch_size: {low: 1, high: 999999999}},"
    + " sampler: {name: grid}}\n",
    "10^18 configurations": SPEC + "search: {configurations: 1000000000000000000, space: {r: [0, 1]}}\n",
    "10^18 epochs": SPEC.replace("epochs: 1", "epochs: 1000000000000000000"),
    "10^18 images a batch": SPEC.replace("epochs: 1", "batch_size: 1000000000000000000"),
    "10^18 processors": SPEC + "resources: {cpus: 1000000000000000000}\n",
    "10^18 configurations a pack": SPEC + "resources: {pack: 1000000000000000000}\n",
    "half a GPU too many": SPEC + "resources: {gpus: 1.5}\n",
    "code by a tag": SPEC + 'question: !!python/object/apply:os.system ["touch owned"]\n',
    "a name by a tag": SPEC + "question: !!python/name:os.system\n",
    "a module by a tag": SPEC + "question: !!python/module:os\n",
    "an object by a tag": SPEC + "question: !!python/object/new:subprocess.Popen [[touch, owned]]\n",
    "a tag of its own": SPEC + "question: !x y\n",
    "a tag with a handle": "%TAG ! tag:yaml.org,2002:python/\n---\n" + SPEC + "question: !name:os.system\n",
    "binary": SPEC + "question: !!binary aGFsbG8=\n",
    "a set": SPEC + "seeds: !!set {1, 2}\n",
    "an ordered map": SPEC + "arms: !!omap [plain: {}]\n",
    "an int that is none": SPEC + "claim: !!int nine\n",
    "YAML 9.9": "%YAML 9.9\n---\n" + SPEC,
    "a tab": "name: x\n\tarms: 1\n",
    "unclosed text": SPEC + 'question: "abc\n',
    "an unknown escape": SPEC + 'question: "\\q"\n',
    "a reserved character": SPEC + "question: @x\n",
}
TWICE = {
    "at the top": SPEC + "seeds: 2\n",
    "in base": SPEC.replace("epochs: 1", "epochs: 1, epochs: 1"),
    "in the arms": SPEC.replace("plain: {}", "plain: {}, plain: {}"),
    "in an arm": SPEC.replace("plain: {}", "plain: {r: 0, r: 1}"),
    "in the space": SPEC + "search: {configurations: 1, space: {r: [0, 1], r: [1, 2]}}\n",
    "in a range": SPEC + "search: {configurations: 1, space: {r: {low: 0, low: 1, high: 2}}}\n",
    "in the sampler": SPEC + "search: {configurations: 1, space: {r: [0, 1]}, sampler: {name: tpe, name: random}}\n",
    "in the objective": SPEC + "objective: {metric: train.loss, metric: train.loss}\n",
    "in resources": SPEC + "resources: {cpus: 1, cpus: 2}\n",
    "in tracking": SPEC + "tracking: {uri: null, uri: null}\n",
    "once quoted": SPEC + '"name": y\n',
    "once as a merge key": SPEC + "<<: {name: y}\n",
    "where it is a number": "1: a\n0x1: b\n'1': c\n",
}
ENCODED = {
    "UTF-16 with a mark": SPEC.encode("utf-16"),
    "UTF-16, little end": SPEC.encode("utf-16-le"),
    "UTF-16, big end": SPEC.encode("utf-16-be"),
    "UTF-32 with a mark": SPEC.encode("utf-32"),
    "UTF-32, little end": SPEC.encode("utf-32-le"),
    "Latin-1": (SPEC + "question: café\n").encode("latin-1"),
    "Windows-1252": (SPEC + "question: “why”\n").encode("cp1252"),
    "Shift-JIS": (SPEC + "question: なぜ\n").encode("shift-jis"),
    "EBCDIC": SPEC.encode("cp500"),
    "a surrogate as bytes": SPEC.encode() + b"question: \xed\xa0\x80\n",
    "an overlong slash": SPEC.encode() + b"question: \xc0\xaf\n",
    "a character cut off": SPEC.encode() + "question: é".encode()[:-1],
    "only a mark": b"\xef\xbb\xbf",
    "NUL in the middle": SPEC.encode() + b"question: a\0b\n",
    "NUL at the end": SPEC.encode() + b"\0",
    "only NUL": b"\0" * 4096,
    "an escape of the terminal": SPEC.encode() + b"question: \x1b[2J\n",
    "DEL": SPEC.encode() + b"question: \x7f\n",
    "a control character of Latin-1": SPEC.encode() + "question: \x9b2J\n".encode(),
    "NUL, escaped": SPEC.encode() + rb'question: "a\0b"',
    "an escape of the terminal, escaped": SPEC.encode() + rb'question: "\e[2J"',
    "half a surrogate pair, escaped": SPEC.encode() + rb'question: "\ud800"',
    "half a surrogate pair in a key, escaped": SPEC.encode() + rb'"\udfff": 1',
    "U+FFFF, escaped": SPEC.encode() + rb'question: "\uffff"',
    "beyond Unicode, escaped": SPEC.encode() + rb'question: "\U00110000"',
    "nothing": b"",
    "a space": b" ",
    "a comment": b"# name: x\n",
    "a mark of a document": b"---\n",
    "the end of a document": b"...\n",
    "gzip": gzip.compress(SPEC.encode()),
    "a pickle": pickle.dumps({"name": "x"}),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a program": Path("/bin/sh").read_bytes()[:10_000],
    "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "XML with an entity": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
    "JSON lines": b'{"name": "x"}\n{"name": "y"}\n',
    "a JSON list": b'[{"name": "x"}]',
    "TOML": b'[base]\nepochs = 1\nname = "x"\n',
    "random bytes": bytes((i * 7919 + i * i) % 256 for i in range(5000)),
    "1 MiB and a byte": SPEC.encode() + b"#" * (LARGEST + 1 - len(SPEC)),
}


@pytest.mark.inputs("Specs: bombs, aliases, tags, depth and numbers out of all measure", cases=BOMBS)
def test_bombs(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for case, text in BOMBS.items():
        with subtests.test(case):
            gradsweep.spec.write_text(text)
            # Of 3,000 problems twenty are told.
            gradsweep.refuses("run", "s.yaml", says="s.yaml:", lines=21 if case.startswith("3,000 keys") else 1)
    assert not (gradsweep.here / "owned").exists()


@pytest.mark.inputs("Specs: a key given twice", cases=TWICE)
def test_a_key_given_twice(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for case, text in TWICE.items():
        with subtests.test(case):
            gradsweep.spec.write_text(text)
            if case == "once as a merge key":
                assert gradsweep("plan", "s.yaml")[0] == 2
            else:
                gradsweep.refuses("run", "s.yaml", says="given twice")


@pytest.mark.inputs("Specs: other encodings, control characters, files that are no YAML", cases=ENCODED)
def test_what_is_no_text(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for case, content in ENCODED.items():
        with subtests.test(case):
            gradsweep.spec.write_bytes(content)
            before = gradsweep.files()
            status, out, err = gradsweep("run", "s.yaml")
            assert (status, out) == (2, "") and gradsweep.files() == before, err
            assert all(line.startswith("gradsweep: s.yaml:") and line.isprintable() for line in err.splitlines())


FILES = {
    "100 MB": lambda p: p.write_bytes(b"# a comment of forty characters in UTF-8\n" * 2_500_000),
    "100 GB of nothing": lambda p: (p.touch(), os.truncate(p, 100 << 30)),
    "endless zeros": lambda p: p.symlink_to("/dev/zero"),
    "endless noise": lambda p: p.symlink_to("/dev/urandom"),
    "a full device": lambda p: p.symlink_to("/dev/full"),
    "no device": lambda p: p.symlink_to("/dev/null"),
    "a folder": lambda p: p.mkdir(),
    "a link to nothing": lambda p: p.symlink_to("nowhere"),
    "a link to itself": lambda p: p.symlink_to(p.name),
    "a file of a process that may not be read": lambda p: p.symlink_to("/proc/self/mem"),
}


@pytest.mark.inputs("Specs: 100 MB, endless and odd files", cases=FILES)
def test_odd_files(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for case, make in FILES.items():
        with subtests.test(case):
            gradsweep.spec = gradsweep.here / f"{case}.yaml".replace(" ", "-")
            make(gradsweep.spec)
            gradsweep.refuses("run", gradsweep.spec.name, says=gradsweep.spec.name)


PATHS = ["", ".", "..", "/", "a\0b", "a\nb", "\x1b[2J", "x" * 300, "/".join("x" * 5000), "../s", "\udcff", "-"]


@pytest.mark.inputs("Specs: paths that are none, or that a terminal would obey", cases=PATHS)
def test_odd_paths(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for path in PATHS:
        with subtests.test(ascii(path[:20])):
            gradsweep.refuses("run", *(["--"] if path == "-" else []), path)


NUMBERS = {
    "epochs": "base: {{data: digits, epochs: {}}}\nseeds: 1\narms: {{plain: {{}}}}\n",
    "batch_size": "base: {{data: digits, batch_size: {}}}\narms: {{plain: {{}}}}\n",
    "learning_rate": "base: {{data: digits, learning_rate: {}}}\narms: {{plain: {{}}}}\n",
    "init_scale": "base: {{data: digits, init_scale: {}}}\narms: {{plain: {{}}}}\n",
    "alpha": "arms: {{plain: {{alpha: {}}}}}\n",
    "r": "arms: {{plain: {{r: {}}}}}\n",
    "seeds": "seeds: {}\narms: {{plain: {{}}}}\n",
    "a seed": "seeds: [1, {}]\narms: {{plain: {{}}}}\n",
    "cpus": "arms: {{plain: {{}}}}\nresources: {{cpus: {}}}\n",
    "gpus": "arms: {{plain: {{}}}}\nresources: {{gpus: {}}}\n",
    "pack": "arms: {{plain: {{}}}}\nresources: {{pack: {}}}\n",
    "concurrent": "arms: {{plain: {{}}}}\nresources: {{concurrent: {}}}\n",
    "configurations": "search: {{configurations: {}, space: {{r: [0, 1]}}}}\n",
    "low": "search: {{configurations: 2, space: {{r: {{low: {}, high: 1}}}}}}\n",
    "high": "search: {{configurations: 2, space: {{r: {{low: 0, high: {}}}}}}}\n",
    "a choice": "search: {{configurations: 2, space: {{r: [0, {}]}}}}\n",
    "the sampler's seed": "search: {{configurations: 2, space: {{r: [0, 1]}}, sampler: {{name: tpe, seed: {}}}}}\n",
    "points": "search: {{configurations: 2, space: {{r: {{low: 0, high: 1}}}}, sampler: {{name: grid, points: {}}}}}\n",
}
NO_NUMBERS = (
    ".nan",
    ".NaN",
    ".inf",
    "-.inf",
    "1e999",
    "-1e999",
    "-1",
    "9223372036854775808",
    "nan",
    "$(reboot)",
    "true",
)


@pytest.mark.inputs(
    "Specs: NaN, infinities, numbers of the wrong sign or size, in every field that is a number",
    cases=[f"{value} for {field}" for field in NUMBERS for value in NO_NUMBERS],
)
def test_no_numbers(subtests: pytest.Subtests) -> None:
    for field, text in NUMBERS.items():
        for value in NO_NUMBERS:
            with subtests.test(f"{value} for {field}"), pytest.raises(SpecError) as caught:
                parse("name: x\n" + text.format(value), "s.yaml")
            (problem,) = caught.value.problems
            assert problem.startswith("s.yaml:") and problem.isprintable()


NAMES = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "../../../../etc/cron.d/x",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "C:\\x",
    "-rf",
    "--help",
    "~",
    "~root",
    "*",
    "a b",
    "a\nb",
    "a\tb",
    "x; touch owned",
    "x && touch owned",
    "$(touch owned)",
    "`touch owned`",
    "x|sh",
    "x > owned",
    "x' OR '1'='1",
    'x"; DROP TABLE studies; --',
    "%2e%2e%2f",
    "%s%n",
    "{0.__class__}",
    "x.db",
    "café",
    "a\u202eb",
    "ａ",
    "🙂",
    "x" * 100_000,
]


@pytest.mark.inputs(
    "Names with slashes, shell words, quotes: of a sweep, of an arm, of one that is looked for", cases=NAMES
)
def test_odd_names(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for name in NAMES:
        quoted = json.dumps(name, ensure_ascii=False)
        with subtests.test(ascii(name[:50])):
            gradsweep.refuses("run", "s.yaml", "--name", name)
            for text in (SPEC.replace("name: x", f"name: {quoted}"), SPEC.replace("plain", quoted)):
                with pytest.raises(SpecError) as caught:
                    parse(text, "s.yaml")
                assert all(p.startswith("s.yaml:") and p.isprintable() for p in caught.value.problems)
    for name in [*(n for n in NAMES if len(n) < 1000), "a\0b", "\udcff", "X", "x" * 48]:
        with subtests.test(f"{name!a} looked for"):
            gradsweep.refuses("status", "--", name)


SETTINGS = [
    "",
    "=",
    "a",
    "=1",
    ".=1",
    "a.=1",
    ".a=1",
    "base..epochs=1",
    "base=1",
    "base=[]",
    "base.epochs=",
    "base.epochs={",
    "base.epochs=&x [*x]",
    "base.epochs=!!python/name:os.system",
    "base.epochs=" + "[" * 1000,
    "base.epochs=1e999",
    "base.epochs.a.b=1",
    "base.__class__.__init__=1",
    "base.seed=1",
    ".".join("x" * 10_000) + "=1",
    "x" * 100_000 + "=1",
    "name=x\ny",
    "name=\x1b[2J",
    "name=\udcff",
    "name=a\0b",
    "seeds.0=1",
    "arms.plain=plain",
    "arms.../../x.alpha=1",
    "arms.plain.data=folder:",
    "search.space.r.low=-1",
    "search.sampler.name=../x",
    "objective.0.metric=train.loss",
    "objective.metric=test.accuracy",
    "tracking.uri=file:///tmp/x",
    "tracking.uri=file:x",
    "tracking.uri=/tmp/x",
    "tracking.uri=javascript:alert(1)",
    "tracking.uri=databricks",
    "tracking.uri=http://",
    "tracking.uri=http://[::1",
    "tracking.uri=http://host:port",
    "tracking.uri=http://host:99999",
    "tracking.uri=http://user:secret@host:5000",
    "tracking.uri=https://token@host",
    "tracking.uri=postgresql://user:secret@host/mlflow",
    "tracking.uri=plugin-of-somebody://x",
]


@pytest.mark.inputs(
    "--set: keys and values that make no sense, addresses with a password or of no MLflow", cases=SETTINGS
)
def test_settings(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for setting in SETTINGS:
        with subtests.test(ascii(setting[:50])):
            line = gradsweep.refuses("run", "s.yaml", "--set", setting)
            assert "secret" not in line and "token@" not in line
    assert not (gradsweep.here / "owned").exists()


DATA = [
    "folder:",
    "folder: ",
    "folder:nowhere",
    "folder:../../../nowhere",
    "folder:/etc/passwd",
    "folder:/dev/null",
    "folder:/dev/zero",
    "folder:/proc/self/fd",
    "folder:/proc/self/mem",
    "folder:~nobody-of-this-name/x",
    "folder:$HOME",
    "folder:$(touch owned)",
    "folder:" + "x" * 300,
    "folder:" + "x/" * 5000,
    "folder:\u202e",
    "folder:file:///etc",
    "folder:https://example.com/x",
    "file:///etc",
    "http://example.com/x.zip",
    "s3://bucket/x",
    "Digits",
    "digits ",
    "digits.pkl",
    "../digits",
    "imagenet",
    "",
]


@pytest.mark.inputs("Specs: data that are nowhere, no folder, or of no kind that is known", cases=DATA)
def test_odd_data(gradsweep: Gradsweep, subtests: pytest.Subtests) -> None:
    for data in DATA:
        with subtests.test(ascii(data[:50])):
            gradsweep.spec.write_text(SPEC.replace("data: digits", f"data: {json.dumps(data)}"))
            gradsweep.refuses("run", "s.yaml")
    assert not (gradsweep.here / "owned").exists()


def test_a_gibibyte_more_is_noticed(gradsweep: Gradsweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch itself: a spec that took so much memory would not pass."""
    monkeypatch.setattr("sweeps.spec.reading.parse", lambda *_: bytearray(1 << 30))
    assert gradsweep("plan", "s.yaml")[0] == 1
