"""The simulated instruments, as programs and piece by piece."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cpppod.workers.simulators.text import Disturbance, NmeaSource, Scale, main, sentence
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]


@contextmanager
def simulator(*arguments: str) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """A running simulator and the line that it begins with; it ends when it is told to."""
    command = [sys.executable, "-m", "cpppod.workers.text_simulator", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
        finally:
            process.kill()


def test_a_scale_listens_answers_and_ends_when_told() -> None:
    with simulator("sics", "-a", "127.0.0.1:0", "--fragment", "--seed", "1") as (_, said):
        host, _, port = said.rpartition(" ")[2].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
            connection.sendall(b"SI\r\nI4\r\n")
            answers = connection.makefile("rb")
            assert answers.readline().startswith(b"S ")
            assert answers.readline() == b'I4 A "B021002593"\r\n'


def test_a_source_connects_to_whoever_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with simulator("nmea", "--connect", address, "--period", "0.05"):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(PATIENCE_S)
                assert connection.makefile("rb").readline().startswith(b"$GPGGA,")


def test_a_source_makes_a_serial_line_and_takes_its_link_away_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "gps"
    with simulator("nmea", "--pty", str(path), "--period", "0.05") as (_, said):
        assert said == f"nmea at {path}"
        with open(os.open(path, os.O_RDONLY | os.O_NOCTTY), "rb") as line:
            while b"$GPGGA," not in line.readline():  # it may have begun in the middle
                pass
    assert not path.is_symlink()


def test_an_address_that_cannot_be_had_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert main(["sics", "--tcp", f"127.0.0.1:{server.getsockname()[1]}"]) == 1
    assert "try another address" in capsys.readouterr().err


def test_a_scale_takes_commands_in_pieces_and_refuses_what_it_does_not_know() -> None:
    scale = Scale(random.Random(1))
    assert scale.answer(b"S") == b""
    assert scale.answer(b"I\r\n") == b"S D      0.000 kg\r\n"
    assert scale.answer(b"XYZ\r\nSI 1\r\nTA x kg\r\n") == b"ES\r\n" * 3
    assert (
        scale.answer(b"TA 99 kg\r\nTA 2 kg\r\nTA\r\n")
        == b"TA L\r\n" + b"TA A      2.000 kg\r\n" * 2
    )
    assert scale.answer(b"Z\r\n") == b"Z A\r\n"
    for _ in range(40):
        scale.move()
    assert scale.answer(b"S\r\n").endswith(b" kg\r\n")
    assert scale.answer(b"TI\r\n").startswith(b"TI ")


def test_a_scale_repeats_its_weight_until_it_is_reset() -> None:
    scale = Scale(random.Random(1))
    assert scale.say(0.0) == b""
    scale.answer(b"SIR\r\n")
    assert scale.say(1.0).startswith(b"S ")
    assert scale.answer(b"@\r\n") == b'I4 A "B021002593"\r\n'
    assert scale.say(2.0) == b""


def test_sentences_have_their_checksum_and_pieces_make_the_whole() -> None:
    assert sentence("GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,").endswith(
        b"*47\r\n"
    )
    said = NmeaSource(random.Random(1)).say(0.0)
    pieces = Disturbance(random.Random(1), fragment=True).pieces(said)
    assert len(pieces) > 1
    assert b"".join(pieces) == said
    assert Disturbance(random.Random(1), noise=1.0).pieces(said)[0].endswith(said)
