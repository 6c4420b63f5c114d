"""The clients' packages as somebody installs them: packed in an unbuilt checkout, beside React alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import trio

from tests import nodejs
from tests.cli.commands import served
from tests.docs.markdown import blocks, commands
from tests.docs.programs import programs, retitle, succeed, title
from tests.missing import skip_or_fail
from tests.waiting import PATIENCE_S

PACKAGES = ("client", "react", "react-native")
# What a page that uses them has of its own, in the versions that our tests run with.
BESIDE = ("react", "react-dom", "jsdom", "@types/react", "@types/react-dom", "@types/node")
ADDRESS = "ws://127.0.0.1:8787/realtime"
STRICT = [
    "--strict",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--jsx",
    "react-jsx",
    "--allowJs",
    "--checkJs",
]
# A document for React; the styles are a bundler's; the page's own are the address and a token.
RENDER = """
import { registerHooks } from "node:module";
import { JSDOM } from "jsdom";
registerHooks({ load: (url, context, next) =>
  url.endsWith(".css") ? { format: "module", source: "", shortCircuit: true } : next(url, context) });
const { window } = new JSDOM("<main></main>", { url: "http://localhost/" });
const { document } = window;
const of = (name) => window[name].bind(window);
const [addEventListener, removeEventListener] = [of("addEventListener"), of("removeEventListener")];
Object.assign(globalThis, { window, document, addEventListener, removeEventListener });
const [{ createElement }, { createRoot }, { App }] =
  await Promise.all([import("react"), import("react-dom/client"), import("./App.js")]);
const [url, token, wanted] = process.argv.slice(2);
const onUncaughtError = (error) => { console.error(error); process.exit(1); };
const root = createRoot(document.querySelector("main"), { onUncaughtError });
root.render(createElement(App, { url, getToken: async () => token }));
while (document.querySelector("input")?.value !== wanted) await new Promise((seen) => setTimeout(seen, 20));
process.exit();
"""


def run(command: list[str], folder: Path) -> str:
    """What it prints; it has to succeed."""
    done = subprocess.run(command, cwd=folder, env=nodejs.environment(), capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def npm() -> str:
    return str(nodejs.tools() / "npm")


def version(package: str) -> str:
    manifest = json.loads((nodejs.CLIENTS / "node_modules" / package / "package.json").read_text())
    return f"{package}@{manifest['version']}"


def snippet(package: str, language: str) -> str:
    """The program under "Use" of a package's README."""
    found = blocks(nodejs.CLIENTS / package / "README.md", "Use")
    [text] = [block.text for block in found if block.language == language]
    return text


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of an unbuilt checkout of its own, in which each finds the others and what is installed."""
    try:
        nodejs.install()
    except nodejs.Unavailable as reason:
        skip_or_fail(reason)
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(nodejs.ROOT / "LICENSE", folder)
    copy = folder / "clients"
    shutil.copytree(nodejs.CLIENTS, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "LICENSE"))
    ours = copy / "node_modules" / "@collab"
    ours.mkdir(parents=True)
    for package in PACKAGES:
        (ours / package).symlink_to(copy / package)
    for found in (nodejs.CLIENTS / "node_modules").iterdir():
        if found.name != ours.name:
            (ours.parent / found.name).symlink_to(found)
    return copy


def unbuild(clients: Path) -> None:
    for package in PACKAGES:
        shutil.rmtree(clients / package / "dist", ignore_errors=True)


@pytest.fixture(scope="module")
def packed(clients: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, each packed where neither it nor those that it stands on are built."""
    folder = tmp_path_factory.mktemp("packed")
    for package in PACKAGES:
        unbuild(clients)
        run([npm(), "pack", "--silent", "--pack-destination", str(folder)], clients / package)
    return folder


@pytest.fixture(scope="module")
def project(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but what the web takes of them, React, and the READMEs' programs."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    ours = [str(path) for path in packed.iterdir() if "native" not in path.name]
    quietly = ["--prefer-offline", "--no-audit", "--no-fund", "--silent"]
    run([npm(), "install", *quietly, *ours, *map(version, BESIDE)], folder)
    (folder / "edit.mjs").write_text(snippet("client", "js"))
    (folder / "App.tsx").write_text(snippet("react", "tsx"))
    (folder / "render.js").write_text(RENDER)
    (folder / "node").symlink_to(nodejs.tools() / "node")
    return folder


def typescript(*words: str) -> list[str]:
    return nodejs.node(str(nodejs.CLIENTS / "node_modules" / "typescript" / "bin" / "tsc"), *words)


@pytest.mark.parametrize("package", PACKAGES)
def test_what_npm_packs_of_an_unbuilt_checkout_is_built(package: str, packed: Path) -> None:
    manifest = json.loads((nodejs.CLIENTS / package / "package.json").read_text())
    with tarfile.open(packed / f"collab-{package}-{manifest['version']}.tgz") as archive:
        names = {name.removeprefix("package/") for name in archive.getnames()}
    targets = [manifest["main"], manifest["module"], manifest["types"], "./README.md", "./LICENSE"]
    for entry in manifest["exports"].values():
        targets += leaves(entry)
    assert [name for name in targets if name.removeprefix("./") not in names] == []


def test_what_a_package_stands_on_is_built_again_after_a_build_that_was_broken_off(clients: Path) -> None:
    """It left a folder without types."""
    unbuild(clients)
    (clients / "client" / "dist" / "esm").mkdir(parents=True)
    run([npm(), "run", "--silent", "build"], clients / "react")
    for package in ("client", "react"):
        assert (clients / package / "dist" / "esm" / "index.d.ts").exists()


def leaves(entry: object) -> list[str]:
    """The files that an entry of `exports` leads to."""
    return (
        [leaf for value in entry.values() for leaf in leaves(value)]
        if isinstance(entry, dict)
        else [str(entry)]
    )


def test_the_programs_of_the_readmes_have_the_types_that_the_packages_have(project: Path) -> None:
    run(typescript(*STRICT, "--noEmit", "--types", "node", "edit.mjs"), project)
    run(typescript(*STRICT, "--noEmit", "App.tsx"), project)


async def test_the_program_of_the_client_s_readme_runs(project: Path, tmp_path: Path) -> None:
    found = blocks(nodejs.CLIENTS / "client" / "README.md", "Use")
    typed = [command for block in found if block.language == "console" for command in commands(block.text)]
    programs(project)
    async with served(tmp_path / "data") as server:
        (project / "edit.mjs").write_text(snippet("client", "js").replace(ADDRESS, server.url))
        printed = await succeed(project, *typed, GATEWAY_SERVER_DATA_DIR=str(tmp_path / "data"))
        assert "description: 'Bring cake.'" in printed
        assert await title(server, project, "event:42") == "Lunch"


async def test_the_program_of_react_s_readme_runs(project: Path, tmp_path: Path) -> None:
    run(typescript(*STRICT, "App.tsx"), project)
    async with served(tmp_path / "data", "--set", "server.origins=http://localhost") as server:
        await retitle(server, project, "Lunch", "event:42")
        token = server.token("ann")
        command = nodejs.node("render.js", server.url, token, "Lunch")
        with trio.fail_after(PATIENCE_S):
            await trio.run_process(command, cwd=project)
