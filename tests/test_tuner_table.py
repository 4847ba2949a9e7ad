"""The tuner's table: what it keeps, that damage is found, and that processes share it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="kernels are written in Triton")

from tgrad import cli
from tgrad.kernels.cuda.configs import Case
from tgrad.runtime import tuned
from tgrad.runtime.tuned import Choice, Damaged
from tgrad.tuner.table import Place, Table, Trial, choices_of, export

ROOT = Path(__file__).resolve().parents[1]
CASE = Case("softmax", "32-bit", 0, (8, 64, 1), "rows")
CONFIG = {"block_t": 2, "block_n": 64, "num_warps": 1}
PLACE = Place("emulated", "3.9", CASE)


def choice(us: float = 5.0, chosen: float = 100.0, config: dict | None = CONFIG, **case) -> Choice:
    c = CASE._replace(**case)
    return Choice("emulated", "3.9", (*c[:3], c.sizes, c.layout), config, us, 10.0, "{}", chosen)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "below" / "tuned.sqlite"
    monkeypatch.setenv("TGRAD_TUNED", str(place))
    return place


def test_choices_and_trials_come_back_as_they_were_written(file):
    raced = Trial(CONFIG, "raced", 2, 5.0, 4.0, 6.0, 40, 0, 64, "", 7.0)
    slow = raced._replace(config={**CONFIG, "num_warps": 2}, us=9.0)
    gone = Trial(None, "discarded", note="spills 8 bytes", tried=8.0)
    with Table(file) as table:
        for trial in (slow, gone, raced):
            table.add(PLACE, trial)
        table.choose(choice())
    with Table(file) as table:
        assert table.trials(PLACE) == [raced, slow, gone]
        assert table.choices() == [choice()] == [table.choice(PLACE)]
        assert table.cases("softmax") == [PLACE] and table.cases("matmul") == []
        table.forget(PLACE)
        assert table.trials(PLACE) == table.choices() == []


def test_a_config_that_is_tried_again_replaces_its_row(file):
    with Table(file) as table:
        for us in (9.0, 5.0):
            table.add(PLACE, Trial(CONFIG, "raced", us=us))
            table.choose(choice(us))
        assert [t.us for t in table.trials(PLACE)] == [5.0]
        assert [c.us for c in table.choices()] == [5.0]


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0xFF
    file.write_bytes(bytes(data))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def scribble(file: Path) -> None:
    file.write_text("these are not the choices you are looking for")


@contextlib.contextmanager
def changed(file: Path) -> Iterator[sqlite3.Connection]:
    """The database, changes to which are kept."""
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        yield database


def edit(file: Path) -> None:
    with changed(file) as database:
        database.execute("UPDATE choices SET config = replace(config, '64', '32')")


def other_version(file: Path) -> None:
    with changed(file) as database:
        database.execute("PRAGMA user_version = 99")


def choices(file: Path) -> list[tuned.Choice]:
    with Table(file) as table:
        return table.choices()


@pytest.mark.parametrize(
    "damage",
    [lambda f: flip(f, 0), lambda f: flip(f, 4096), truncate, scribble, edit, other_version],
)
@pytest.mark.parametrize("reader", [tuned.read, choices])
def test_a_damaged_table_is_set_aside_with_a_warning(file, damage, reader):
    with Table(file) as table:
        table.choose(choice())
    damage(file)
    with pytest.warns(RuntimeWarning, match=r"tuned.sqlite is damaged .* it is now"):
        assert reader(file) == []
    assert len(list(file.parent.glob("tuned.sqlite.damaged-*"))) == 1
    with Table(file) as table:  # a new one, in which all is well
        table.choose(choice())
        assert table.choices() == [choice()]


def test_a_sound_table_is_left_alone(file):
    with Table(file) as table:
        table.choose(choice())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tuned.read(file) == [choice()]
    assert [p.name for p in file.parent.iterdir()] == ["tuned.sqlite"]


WRITER = """
import sys
from pathlib import Path
from tests.test_tuner_table import PLACE, CONFIG, choice
from tgrad.tuner.table import Table, Trial

who, start = sys.argv[1], Path(sys.argv[3])
while not start.exists():
    pass
with Table(Path(sys.argv[2])) as table:  # made by whoever is first
    for k in range(60):
        table.add(PLACE, Trial({**CONFIG, "block_t": k, "who": who}, "raced", us=float(k)))
        table.choose(choice(config={"who": who}, sizes=(8, k, int(who))))
"""


def test_two_processes_write_at_once_and_lose_nothing(file, tmp_path):
    start = tmp_path / "start"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, who, str(file), str(start)], cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        )
        for who in "12"
    ]  # fmt: skip
    start.touch()
    for writer in writers:
        _, said = writer.communicate(timeout=120)
        assert writer.returncode == 0, said
    with Table(file) as table:
        assert len(table.trials(PLACE)) == len(table.choices()) == 120


def test_exported_choices_are_imported_where_they_are_newer(file, tmp_path, capsys):
    out = tmp_path / "choices.json"
    with Table(file) as table:
        table.choose(choice(5.0))
        table.choose(choice(7.0, sizes=(8, 128, 1)))
    assert cli.main(["tune", "--export", str(out)]) == 0
    assert sorted(choices_of(out)) == sorted(choices_of(file))
    with Table(file) as table:
        table.choose(choice(4.0, chosen=200.0))
        table.forget(PLACE._replace(case=CASE._replace(sizes=(8, 128, 1))))
    assert cli.main(["tune", "--import", str(out)]) == 0
    assert "1 choices taken over" in capsys.readouterr().out
    with Table(file) as table:
        assert sorted(c.us for c in table.choices()) == [4.0, 7.0]


def test_a_changed_export_is_refused_whole(file, tmp_path):
    out = tmp_path / "choices.json"
    export(out, [choice(), choice(sizes=(8, 128, 1))])
    out.write_text(out.read_text().replace('"block_n": 64', '"block_n": 32', 1))
    with pytest.raises(Damaged, match="does not match its checksum"):
        choices_of(out)
    assert cli.main(["tune", "--import", str(out)]) == 1
    assert not file.exists() or not choices_of(file)


def test_list_show_and_compare_print_what_is_kept(file, tmp_path, capsys):
    with Table(file) as table:
        table.choose(choice(5.0))
        table.add(PLACE, Trial(CONFIG, "raced", 3, 5.0, 4.5, 5.5, 40, 0, 64))
        table.add(PLACE, Trial(None, "wrong", note="3 of 9 elements differ"))
    assert cli.main(["tune", "--list"]) == 0
    assert "softmax 32-bit rows 8x64x1" in (said := capsys.readouterr().out) and "2.00x" in said
    assert cli.main(["tune", "--show", "softmax"]) == 0
    said = capsys.readouterr().out
    assert "block_n=64" in said and "the kernel's rule (3 of 9 elements differ)" in said
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    export(old, [choice(8.0), choice(3.0, sizes=(1, 1, 1))])
    export(new, [choice(4.0)])
    assert cli.main(["tune", "--compare", str(old), str(new)]) == 0
    said = capsys.readouterr().out
    assert "0.50" in said and "1 cases in both, new/old 0.500 (geometric mean)" in said


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--list"], "there is no table yet"),
        (["sotfmax"], "expected a kernel of"),
        (["softmax", "--dtype", "float31"], "expected a dtype of"),
        (["--compare", "/nowhere", "/nowhere"], "No such file"),
        (["--arch", "sm_90"], "--arch is for --dry-run"),
        (["--dry-run", "--arch", "sm_90"], "TRITON_INTERPRET=0"),
        (["--shapes", "/nowhere"], "No such file"),
    ],
)
def test_a_wrong_command_ends_in_one_line(file, arguments, said, capsys):
    assert cli.main(["tune", *arguments]) == 1
    (line,) = [n for n in capsys.readouterr().err.splitlines() if n.startswith("tgrad tune:")]
    assert said in line


def test_no_table_is_read_or_made_where_the_user_wants_none(monkeypatch, capsys):
    monkeypatch.setenv("TGRAD_TUNED", "0")
    assert tuned.path() is None and tuned.choices("emulated")[0] == []
    assert cli.main(["tune", "--list"]) == 1
    assert "there is no table" in capsys.readouterr().err
