"""A setting that needs an extra: where that isn't installed, it is told before anything is served."""

from __future__ import annotations

import sys

import pytest
import trio

from gateway.admission import create_secret
from gateway.config import Config, extras
from tests.cli.commands import Finished, environment

SETTINGS = [
    ("search", "httpx", "search.url=http://127.0.0.1:9"),
    ("authoriser", "httpx", "authoriser.url=http://127.0.0.1:9"),
    ("otel", "opentelemetry.sdk", "tracing.endpoint=http://127.0.0.1:9/v1/traces"),
]


async def run(away: str, *words: str) -> Finished:
    """A command where a package isn't installed."""
    code = f"""
import sys
class Away:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {away.partition(".")[0]!r}:
            raise ModuleNotFoundError("no " + name, name=name)
sys.meta_path.insert(0, Away())
from gateway.cli import main
sys.argv = ["gateway", *{words!r}]
main()
"""
    done = await trio.run_process(
        [sys.executable, "-c", code],
        env=environment(),
        check=False,
        capture_stdout=True,
        capture_stderr=True,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.parametrize(("name", "away", "setting"), SETTINGS)
async def test_an_extra_that_is_missing_is_told_with_how_to_install_it(tmp_path, name, away, setting):
    install = f"{sys.executable} -m pip install 'collab-gateway[{name}]'"
    key = setting.partition("=")[0]
    listed = await run(away, "config", key, "--set", setting)
    assert f"{key} is set, and {away} isn't installed: {install}" in listed.err
    assert key in listed.out and listed.status == 0
    looked = await run(away, "doctor", "--json", "--data", str(tmp_path), "--set", setting)
    assert install in looked.out and looked.status == 1
    cluster = ("--redis", "redis://127.0.0.1:9", "--postgres", "postgresql://127.0.0.1:9/none")
    create_secret(tmp_path / "jwt-secret")
    refused = await run(away, "serve", "--data", str(tmp_path), "--port", "0", *cluster, "--set", setting)
    assert install in refused.err and refused.status not in (0, 1)


async def test_a_setting_that_does_not_belong_is_told_before_what_it_would_need(tmp_path):
    _, away, setting = SETTINGS[0]
    refused = await run(away, "serve", "--data", str(tmp_path), "--port", "0", "--set", setting)
    assert "search.url is the index of a cluster" in refused.err and refused.status == 2
    assert "pip install" not in refused.err


def test_what_is_not_asked_for_is_not_looked_for():
    assert list(extras.wanted(Config())) == []
    assert [extra.name for extra in extras.wanted(Config().with_(search={"url": "http://x"}))] == ["search"]
