"""Reports: the promised members, the page, the terminal, comparing and merging."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from gateway.runtime import speedups
from gateway.runtime.version import gateway_version
from loadtest.compare import compare, differences_of_place, differs, faults_grown, verdict_fell
from loadtest.evidence import Findings
from loadtest.histogram import Latencies
from loadtest.merge import MergeError, merge
from loadtest.options import Progress
from loadtest.recorder import joined, spans_s, summed
from loadtest.report import figures
from loadtest.report.charts import Chart, Series, decade_ticks, nice_ticks, svg
from loadtest.report.page import TEMPLATE, render
from loadtest.report.terminal import print_report, sparkline, view
from loadtest.scenario import parse
from loadtest.web.state import State
from tests.loadtest.reports import FANOUT, RATE, interval, report, sample, scenario_data
from tests.waiting import PATIENCE_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def broken() -> dict[str, Any]:
    findings = Findings()
    findings.add("gaps", "doc-<1>: ann expected version 2 and got 3", 3)
    return report(findings=findings)


# --------------------------------------------------------------------------------------------- JSON


def test_the_promised_members_are_there() -> None:
    made = json.loads(json.dumps(report()))
    assert made["verdict"]["status"] == "pass"
    for name in ("lost_acknowledged", "gaps", "duplicates", "reordered", "diverged"):
        assert made["verdict"][name] == 0
    assert made["verdict"]["reasons"] == []
    assert made["rates"]["operations_per_s"] == 200
    assert made["rates"]["deliveries_per_s"] == 800
    for metric in ("delivery", "ack", "connect", "sync"):
        assert set(made["latency_ms"][metric]) >= {"p50", "p95", "p99", "max"}
        wanted = 21 if metric == "delivery" else 18
        assert made["latency_ms"][metric]["p95"] == pytest.approx(wanted, rel=0.01)
    assert made["connections"] == {
        "attempted": 40,
        "succeeded": 40,
        "deferred": 0,
        "given_up": 0,
        "failed": 0,
        "disconnected": 0,
        "recovered": 0,
        "caught_up": 0,
        "peak": 40,
    }
    assert made["server"]["cpu_s"] == pytest.approx(5)
    assert made["server"]["rss_bytes"] == 60_000_000
    assert made["server"]["kernel_socket_bytes"] == 800_000
    assert made["generator"]["cpu_s"] == pytest.approx(2)
    assert made["generator"]["lag_p99_ms"] == pytest.approx(0.3, rel=0.01)
    assert made["generator"]["missed"] == 0
    assert [stage["name"] for stage in made["stages"]] == ["arrive", "hold"]
    assert made["environment"]["seed"] == 1


def test_stages_have_their_own_figures() -> None:
    stages = report()["stages"]
    assert [stage["server"]["cpu_s"] for stage in stages] == pytest.approx([1, 4])
    assert stages[1]["server"]["cpu_cores"] == pytest.approx(0.5)
    assert stages[1]["server"]["pss_bytes"] == 40_000_000 + 6000 * 400
    assert stages[1]["server"]["steps_ms"]["commit"] == {"mean": pytest.approx(2), "p95": 5}
    assert stages[0]["counts"]["succeeded"] == 40


def test_what_others_use_of_the_machine_is_told_and_excuses_missed_targets_only() -> None:
    assert report()["generator"]["others_cores"] == pytest.approx(0.1, abs=0.02)
    assert report(others=0.8)["verdict"]["status"] == "pass"
    slow = report(others=0.8, delivery_ms=300)["verdict"]
    assert slow["status"] == "invalid"
    assert any("other processes used 0.80 cores" in reason for reason in slow["reasons"])
    assert report(delivery_ms=300)["verdict"]["status"] == "fail"


def test_memory_of_a_connection_is_the_growth_not_the_process() -> None:
    memory = report()["server"]["memory_a_connection"]
    assert memory["pss_bytes"] == pytest.approx(6000)
    assert memory["socket_buffer_bytes"] == pytest.approx(2000)
    assert memory["slab_bytes"] == 4000


def test_stages_that_are_not_measured_stay_out_of_rates_and_latencies() -> None:
    intervals = [interval(number, 2000 if number < 4 else 20) for number in range(20)]
    slow = report()
    slow_stage = summed(intervals[:4]).latency_ms()["delivery"]["p95"]
    assert slow_stage > 1900
    assert slow["latency_ms"]["delivery"]["count"] == 16 * 400


def test_what_is_answered_after_the_schedule_is_felt_in_its_last_stage() -> None:
    late = interval(20, 900, rate=60)["histograms"]
    made = report(late=late)
    assert made["latency_ms"]["delivery"]["count"] == 16 * 400 + 240
    assert made["verdict"]["reasons"] == ["target: delivery p99 is 901.1 ms, 200 ms wanted"]
    assert made["stages"][1]["latency_ms"]["delivery"]["max"] > 800
    assert made["rates"] == report()["rates"]
    stages = [*scenario_data()["stages"], {"name": "leave", "duration_s": 0, "connections": 0}]
    stages[2]["measured"] = False
    assert report(late=late, stages=stages)["verdict"]["status"] == "pass"


def followed(slow_ms: float, at: int, late: Any = None) -> dict[str, Any]:
    """A report with stages of 2, 4 (measured) and 4 s, in which 40 deliveries that took so long came in the
    interval `at`; what is late came within 3 s after."""
    stages = [{"name": f"s{n}", "duration_s": 4 if n else 2, "connections": 40} for n in range(3)]
    stages[0]["measured"] = stages[2]["measured"] = False
    intervals = [interval(number) for number in range(20)]
    slow = Latencies()
    slow.record(int(1000 * slow_ms), 40)
    intervals[at]["histograms"]["delivery"] += slow.pairs()
    return report(intervals=intervals, stages=stages, late=late)


@pytest.mark.parametrize(
    ("slow_ms", "at", "counts"),
    [
        (1900, 13, True),  # came from 6.5 to 7 s: due before 5.1 s
        (1100, 13, True),
        (900, 13, False),  # may have been due in the last stage
        (3000, 17, True),
        (2000, 17, False),
        (7900, 17, False),  # may have been due in the first stage
    ],
)
def test_what_was_due_in_a_measured_stage_is_of_it_when_it_comes_after_it(
    slow_ms: float, at: int, counts: bool
) -> None:
    """A stall that began in one and ended after it was in no latency, and the run passed."""
    made = followed(slow_ms, at)
    assert made["latency_ms"]["delivery"]["count"] == 8 * RATE * FANOUT + 40 * counts
    assert made["verdict"]["status"] == ("fail" if counts else "pass")


@pytest.mark.parametrize(("slow_ms", "counts"), [(6900, False), (7500, True), (8100, False)])
def test_what_comes_after_the_schedule_may_have_been_due_in_a_measured_stage(
    slow_ms: int, counts: bool
) -> None:
    one = Latencies()
    one.record(1000 * slow_ms, 50)
    made = followed(20, 5, {"delivery": one.pairs()})
    assert made["latency_ms"]["delivery"]["count"] == 8 * RATE * FANOUT + 40 + 50 * counts


def test_a_generator_that_is_late_after_the_schedule_is_not_the_limit() -> None:
    late = {name: interval(20, 900)["histograms"]["delivery"] for name in ("lag", "loop")}
    assert report(late=late)["verdict"]["status"] == "pass"


def test_intervals_of_several_processes_join() -> None:
    both = joined([interval(3), interval(3, 40)])
    assert both["connections"] == 80
    assert both["counts"]["deliveries"] == 800
    assert summed([both]).histograms["delivery"].total == 800


# --------------------------------------------------------------------------------------------- HTML


class Outside(HTMLParser):
    """Collects what a page would load from elsewhere, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") or (value and "url(" in value):
                self.found.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_self_contained_with_the_verdict_first() -> None:
    page = render(broken())
    parser = Outside()
    parser.feed(page)
    assert parser.found == []
    assert not re.search(r"\{\{|@import|https?://", page)
    text = "".join(parser.text)
    assert text.index("gaps: versions were skipped") < text.index("operations a second")
    assert "doc-<1>: ann expected version 2" in text  # escaped in the source


def test_the_pages_pictures_are_well_formed() -> None:
    pictures = re.findall(r"<svg.*?</svg>", render(report()), re.DOTALL)
    assert len(pictures) == 6
    for picture in pictures:
        assert ElementTree.fromstring(picture).find("path") is not None


def test_a_run_without_anything_measured_still_makes_a_page() -> None:
    made = report(rate=0)
    made["server_series"], made["server"]["memory_a_connection"] = [], None
    assert "Too few connections" in render(made)


def test_no_column_of_the_page_is_wider_than_a_phone() -> None:
    """One that wants more than the 312 pixels between the margins of a small one gives way."""
    columns = [int(pixels) for pixels in re.findall(r"minmax\((\d+)px", render(report()))]
    assert columns and max(columns) <= 312


def test_the_name_of_a_column_is_broken_into_lines_where_it_is_wider_than_its_figures() -> None:
    """That of an outage's length took more than a phone has, so that what came after it was cut off."""
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", TEMPLATE.read_text())
    kept_whole = [names for names, rule in rules if "nowrap" in rule]
    assert kept_whole and not any(re.search(r"\bth\b", names) for names in kept_whole)


def test_stages_scroll_sideways_on_no_screen() -> None:
    """Fifteen columns: their names are broken into lines; on a narrow one each stands beside its figure."""
    page = render(report())
    found = re.search(r'<div class="wide stages">.*?</div>', page)
    assert found is not None
    names = re.findall(r"<th>([^<]+)", found[0])
    assert re.findall(r'<td data-name="([^"]+)', found[0]) == names * len(scenario_data()["stages"])
    assert ".stages td:first-child { white-space: normal;" in page
    assert ".stages td::before { content: attr(data-name);" in page


if CHROMIUM:  # where a browser is installed

    def test_a_browser_shows_the_page(tmp_path: Path) -> None:
        page = tmp_path / "report.html"
        page.write_text(render(broken()))
        profile = f"--user-data-dir={tmp_path}/profile"
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", profile, "--dump-dom"]
        shown = subprocess.run(
            [*command, page.as_uri()], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        assert shown.stdout.count("<svg") == 6
        assert "3 x gaps" in shown.stdout


def test_a_chart_keeps_its_points_inside_the_picture() -> None:
    line = Series("one", [(0, 0), (5, 70), (10, 133)])
    bands = [("a", 0, 4), ("b", 4, 10)]
    drawn = svg(Chart("t", [line], "x", figures.number, bands=bands, lines=[("m", 200)]))
    path = ElementTree.fromstring(drawn).find("path")
    assert path is not None
    numbers = [float(one) for one in re.findall(r"[\d.]+", path.attrib["d"])]
    assert all(58 <= x <= 596 for x in numbers[::2])
    assert all(34 <= y <= 230 for y in numbers[1::2])
    assert numbers[1] > numbers[3] > numbers[5]


@pytest.mark.parametrize("end", [10.3, 300.5, 62.0, 1199.0, 8.0, 9.9])
def test_the_times_below_a_chart_do_not_touch(end: float) -> None:
    line = Series("one", [(0, 1), (end, 2)])
    drawn = svg(Chart("t", [line], "x", figures.number, bands=[("hold", 0, end)]))
    found = re.findall(r'<text class="x" x="([\d.]+)" y="[\d.]+">([^<]+)<', drawn)
    edges = [(float(at) - 3.5 * len(text), float(at) + 3.5 * len(text)) for at, text in found]
    assert float(found[-1][1]) == end
    assert all(right < left for (_, right), (left, _) in pairwise(edges))


@pytest.mark.parametrize("marks", [(100, 200), (600, 700), (900, 1000), (1000, 1000), (2, 650)])
def test_the_name_of_a_target_covers_neither_that_of_a_stage_nor_another(marks: tuple[float, ...]) -> None:
    line = Series("one", [(0, 1), (10, 900)])
    lines = [(f"target {number}", mark) for number, mark in enumerate(marks)]
    chart = Chart("t", [line], "x", figures.number, bands=[("hold", 0, 10)], lines=lines, y_log=True)
    found = re.findall(r'<text class="(?:band-name|mark)" x="[\d.]+" y="([\d.]+)"', svg(chart))
    heights = sorted(map(float, found))
    assert len(heights) == 3
    assert all(lower - upper >= 12 for upper, lower in pairwise(heights))


def test_a_legend_that_is_too_long_stands_below_the_title() -> None:
    def heights(names: list[str]) -> set[str]:
        lines = [Series(name, [(0.0, 1.0), (9.0, 2.0)]) for name in names]
        drawn = svg(Chart("cheapest: delivery p95", lines, "x", figures.number))
        return set(re.findall(r'<text class="(?:title|legend)" x="[\d.]+" y="(\d+)"', drawn))

    assert len(heights(["p50", "p95"])) == 1
    assert len(heights(["steady state", "a node is lost", "everybody comes back at once"])) == 2


def test_ticks_enclose_the_data_in_round_steps() -> None:
    assert nice_ticks(0, 133) == [0, 50, 100, 150]
    assert nice_ticks(0, 0.07) == [0, 0.02, 0.04, 0.06, 0.08]
    assert decade_ticks(0.4, 130) == [0.1, 1, 10, 100, 1000]


def test_figures_are_short() -> None:
    assert [figures.number(x) for x in (None, 0, 7, 0.5, 1234.6)] == ["–", "0", "7", "0.5", "1,235"]
    assert [figures.milliseconds(x) for x in (2.34, 250.4, 1250)] == ["2.3 ms", "250 ms", "1.25 s"]
    assert [figures.size(x) for x in (100, 4800, 250 << 20, 3 << 30, 25 << 37)] == [
        "100 B",
        "4.7 KiB",
        "250 MiB",
        "3.00 GiB",
        "3.12 TiB",
    ]
    assert [figures.duration(x) for x in (30, 960, 3900)] == ["30 s", "16 min", "1 h 5 min"]


# ----------------------------------------------------------------------------------------- terminal


def printed(what: Any) -> str:
    console = Console(file=StringIO(), width=110, force_terminal=False)
    if isinstance(what, dict):
        print_report(what, console)
    else:
        console.print(what)
    file = console.file
    assert isinstance(file, StringIO)
    return file.getvalue()


def test_the_terminal_says_the_verdict_and_why() -> None:
    assert "PASS" in printed(report())
    said = printed(broken())
    assert "FAIL" in said
    assert "3 x gaps: versions were skipped" in said


def test_the_terminal_says_the_notes_of_a_verdict() -> None:
    assert "note: steered: faster" in printed(report(findings=Findings(notes=["steered: faster"])))


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "40 of 40 attempts succeeded"),
        ({"attempted": 45, "deferred": 3}, "40 of 45 attempts succeeded, 3 were put off"),
        ({"attempted": 42, "given_up": 2}, "40 of 42 attempts succeeded, 2 the schedule cut off before"),
        ({"disconnected": 9, "recovered": 7}, "40 of 40 attempts succeeded; 7 of 9 lost ones came back"),
        (
            {"caught_up": 1200},
            "40 of 40 attempts succeeded; 1,200 changes came together to who missed them",
        ),
    ],
)
def test_the_terminal_says_how_many_connections_there_were(counts: dict[str, int], told: str) -> None:
    first = interval(0)
    first["counts"] |= counts
    rows = printed(report(intervals=[first, *map(interval, range(1, 20))])).splitlines()
    (row,) = (row for row in rows if row.startswith("connections "))
    assert row.rstrip().split(maxsplit=2)[1:] == ["40", told]


def test_the_live_view_shows_rates_percentiles_and_the_verdict_so_far() -> None:
    progress = Progress(parse(scenario_data()), "running", 4.0)
    progress.intervals = [interval(number) for number in range(8)]
    progress.samples = [sample(3.0), sample(4.0)]
    said = printed(view(progress))
    for wanted in ("hold", "4 of 10 s", "800/s", "p95 21.0 ms", "no gap, no duplicate", "0.50 cores"):
        assert wanted in said
    progress.intervals[-1]["counts"]["gaps"] = 2
    assert "2 gaps" in printed(view(progress))
    progress.at_s = 10.2
    assert "running: answers to come  10 of 10 s" in printed(view(progress))


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 4]) == "▁▂▄█"


# ------------------------------------------------------------------------------------------ compare


def regressions(before: dict[str, Any], after: dict[str, Any], threshold: float = 0.1) -> set[str]:
    return {change.figure.name for change in compare(before, after, threshold) if change.regression}


def test_a_report_has_no_regression_against_itself() -> None:
    assert regressions(report(), report()) == set()


def test_slower_deliveries_are_a_regression_and_faster_ones_are_not() -> None:
    assert {"delivery p50", "delivery p95", "ack p95"} <= regressions(report(), report(delivery_ms=30))
    assert regressions(report(delivery_ms=30), report()) == set()


def test_fewer_operations_and_dearer_ones_are_regressions() -> None:
    assert "operations_per_s" in regressions(report(), report(rate=70))
    assert "server CPU a delivery" in regressions(report(), report(cores=0.8))


def test_changes_below_the_threshold_are_no_regression() -> None:
    assert regressions(report(), report(delivery_ms=21)) == set()
    assert "delivery p95" in regressions(report(), report(delivery_ms=21), threshold=0.01)


def test_noise_is_no_difference() -> None:
    assert not differs([10, 30, 20, 25, 15, 22], [12, 28, 22, 20, 18, 25])
    assert differs([10, 11, 10, 12, 11, 10], [14, 15, 14, 15, 16, 15])


def test_a_worse_verdict_and_faults_that_came_more_often_are_told() -> None:
    assert (verdict_fell(report(), broken()), faults_grown(report(), broken())) == (True, ["gaps: 0 -> 3"])
    assert (verdict_fell(broken(), report()), faults_grown(broken(), report())) == (False, [])
    slow = report(delivery_ms=300)
    assert (slow["verdict"]["status"], faults_grown(slow, broken())) == ("fail", ["gaps: 0 -> 3"])
    assert faults_grown(broken(), broken()) == []


@pytest.mark.parametrize(
    ("part", "change", "told"),
    [
        ("environment", {"cores": 64}, "64"),
        ("environment", {"gateway": "9.9"}, f"gateway: {gateway_version()} | 9.9"),
        ("environment", {"packages": {"trio": "99"}}, "packages: orjson"),
        ("environment", {"compiled": {}}, f"compiled: core: {speedups.report()['core']} | unknown"),
        (
            "environment",
            {"scenario": {**report()["environment"]["scenario"], "seed": 7}},
            "scenario: seed: 1 | 7",
        ),
        ("environment", {"scenario": {"stages": []}}, "scenario: stages: another"),
        ("server", {"workers": 3}, "workers: unknown | 3"),
        ("server", {"embedded": False}, "server started by the run: True | False"),
        ("generator", {"engine": "compiled"}, "engine of the generator: pure | compiled"),
        ("generator", {"agents": [{}, {}]}, "agents: 0 | 2"),
    ],
)
def test_what_makes_two_runs_hard_to_compare_is_told(part: str, change: dict[str, Any], told: str) -> None:
    other = report()
    other[part] = {**other[part], **change}
    assert any(told in line for line in differences_of_place(report(), other))


def test_another_protocol_or_share_is_told_and_the_same_is_not() -> None:
    assert differences_of_place(report(), report()) == []
    assert differences_of_place(report(), {**report(share=(1, 2)), "protocol": "yjs"}) == [
        f"protocol: {report()['protocol']} | yjs",
        "share: 1/1 | 1/2",
    ]


def test_a_report_says_how_many_workers_served() -> None:
    assert report()["server"]["workers"] is None
    assert report(after=[{**sample(11.0, full=True), "workers": 3}])["server"]["workers"] == 3


def test_the_servers_cpu_is_that_of_the_schedule() -> None:
    reading = sample(30.0, cores=2.0, full=True)
    made = report(after=[reading])["server"]
    assert (made["cpu_s"], made["cpu_cores"]) == (pytest.approx(5.0), pytest.approx(0.5))
    assert made["rss_bytes"] < reading["rss_bytes"]


# -------------------------------------------------------------------------------------------- merge


@pytest.mark.parametrize(
    ("duration_s", "spans"),
    [(0.1, [0.1]), (1.0, [0.5, 0.5]), (1.1, [0.5, 0.6]), (1.4, [0.5, 0.5, 0.4])],
)
def test_the_last_interval_ends_with_the_schedule(duration_s: float, spans: list[float]) -> None:
    assert spans_s(duration_s) == pytest.approx(spans)


def test_a_short_interval_counts_for_as_long_as_it_was() -> None:
    made = report(intervals=[*map(interval, range(19)), {**interval(19), "span_s": 0.25}])
    assert made["rates"]["operations_per_s"] == pytest.approx(16 * RATE / 7.75)
    assert made["stages"][1]["generator"]["cpu_cores"] == pytest.approx(16 * 0.1 / 7.75)
    assert (made["series"][-1]["at_s"], made["series"][-1]["operations_per_s"]) == (9.75, 4 * RATE)


def test_a_longer_last_interval_is_of_the_stage_that_its_middle_is_in() -> None:
    made = [*map(interval, range(19)), {**interval(19), "span_s": 0.7}]
    hold, leave = ({"name": name, "connections": 40} for name in ("hold", "leave"))
    stages = [{**hold, "duration_s": 9.8}, {**leave, "duration_s": 0.4, "measured": False}]
    series = report(intervals=made, stages=stages)["series"]
    assert [point["measured"] for point in series[-2:]] == [True, False]
    live = State()
    live.show(Progress(parse(scenario_data(stages=stages)), "running", 10.2, intervals=made))
    assert live.document()["delivery"]["count"] == 19 * RATE * FANOUT


def test_shares_of_machines_add_up() -> None:
    whole = merge([report(share=(2, 2), delivery_ms=40), report(share=(1, 2))])
    assert whole["verdict"]["status"] == "pass"
    assert whole["rates"]["operations_per_s"] == 400
    assert whole["connections"]["attempted"] == 80
    assert whole["latency_ms"]["delivery"]["count"] == 2 * 16 * 400
    assert 20 < whole["latency_ms"]["delivery"]["p50"] < 41 <= whole["latency_ms"]["delivery"]["p99"]
    assert whole["stages"][1]["rates"]["deliveries_per_s"] == 1600
    assert whole["stages"][0]["latency_ms"]["connect"]["count"] == 2 * RATE
    assert 30 < whole["stages"][0]["latency_ms"]["sync"]["max"] < 40, "of the slower machine"
    assert "<svg" in render(whole)


def compressed(taken: int, declined: int) -> dict[str, Any]:
    """An interval of which a quarter of the messages came over compressed connections, a third as long."""
    made = interval(0)
    counts = {"compressed": taken, "compression_declined": declined, "inflated_bytes": 25_000}
    counts |= {"compressed_messages": 125, "compressed_bytes_received": 10_000, "compressed_bytes_sent": 30}
    return {**made, "counts": {**made["counts"], **counts, "bytes_sent": 100}}


def test_what_compression_saves_is_told_apart_from_the_rest() -> None:
    made = report(intervals=[compressed(10, 0)])
    assert made["compression"] == {
        "connections": 10,
        "declined": 0,
        "compressed": {"messages": 125, "received_bytes": 10_000, "sent_bytes": 30, "message_bytes": 80},
        "uncompressed": {"messages": 375, "received_bytes": 90_000, "sent_bytes": 70, "message_bytes": 240},
        "inflated_message_bytes": 200,
    }
    told = "a message received is 80 B on the wire, inflated 200 B, without compression 240 B"
    assert figures.compression_text(made["compression"]) == told
    assert f"10 connections had permessage-deflate: {told}." in render(made)
    out = StringIO()
    print_report(made, Console(file=out, width=200))
    assert told in out.getvalue()


def test_a_server_that_takes_no_compression_is_told() -> None:
    made = report(intervals=[{**interval(0), "counts": {**interval(0)["counts"], "compression_declined": 7}}])
    assert made["verdict"]["status"] == report(intervals=[interval(0)])["verdict"]["status"]
    assert figures.compression_text(made["compression"]) == "the server declined it 7 times"
    assert (report()["compression"], "permessage-deflate" in render(report())) == (None, False)


def test_compression_of_shares_adds_up() -> None:
    parts = [report(share=(n, 2), intervals=[compressed(n, 1)]) for n in (1, 2)]
    told = merge(parts)["compression"]
    assert (told["connections"], told["declined"], told["compressed"]["messages"]) == (3, 2, 250)


def test_users_who_were_put_off_to_the_end_are_told_of_runs_and_shares() -> None:
    kept_out = [{**interval(number), "put_off": 20} for number in range(20)]
    parts = [report(share=(1, 2)), report(share=(2, 2), intervals=kept_out)]
    verdicts = [one["verdict"] for one in (*parts, merge(parts))]
    assert [one["status"] for one in verdicts] == ["pass", "fail", "fail"]
    assert verdicts[1]["reasons"][0].startswith("target: 66.67% of 60 users were in at the end of hold")
    assert verdicts[2]["reasons"][0].startswith("target: 80.00% of 100 users were in at the end of hold")


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([("ramp", 4, 40), ("hold", 4, 40), ("down", 2, 0)], ["hold"]),
        ([("ramp", 4, 40), ("hold", 4, 40), ("up", 2, 60)], ["hold", "up"]),
        ([("ramp", 10, 40)], ["ramp"]),
        ([("ramp", 4, 40), ("more", 6, 60)], ["more"]),
        ([("ramp", 4, 40), ("+hold", 6, 40)], []),
    ],
)
def test_the_ends_of_stages_tell_who_was_put_off(stages: list[tuple[str, int, int]], told: list[str]) -> None:
    """Who leaves is put off no more, and who has just come waits a moment: that of a ramp says nothing."""
    down = [
        {**interval(number), "put_off": 20 if number < 16 or stages[-1][2] else 0} for number in range(20)
    ]
    made: list[dict[str, Any]] = [
        {"name": name, "duration_s": s, "connections": users, "measured": name[0] != "+"}
        for name, s, users in stages
    ]
    reasons = report(intervals=down, stages=made)["verdict"]["reasons"]
    assert [re.findall(r"users were in at the end of (\w+),", one) for one in reasons] == [
        [one] for one in told
    ]


def test_the_end_of_a_stage_is_looked_at_before_the_next_one_begins() -> None:
    """A storm cuts off everybody at once; an interval may be of a stage and end a quarter second after it."""
    stages = [
        {"name": name, "duration_s": lasts_s, "connections": 40}
        for name, lasts_s in (("arrive", 4.3), ("settle", 3.6), ("storm", 2.1))
    ]
    intervals = [interval(number) for number in range(20)]
    for number in (8, 15):  # from 4 to 4.5 s, from 7.5 to 8 s
        intervals[number] |= {"connections": 10, "put_off": 30}
    assert report(intervals=intervals, stages=stages)["verdict"]["status"] == "pass"
    intervals[7] |= {"connections": 10, "put_off": 30}
    intervals[14] |= {"connections": 10, "put_off": 30}
    [reason] = report(intervals=intervals, stages=stages)["verdict"]["reasons"]
    assert "25.00% of 40 users were in at the end of settle" in reason


def test_a_run_that_is_ended_early_says_nothing_of_ends_that_it_did_not_see() -> None:
    early = [{**interval(number), "put_off": 20} for number in range(10)]
    reasons = report(intervals=early, ended_early="interrupted")["verdict"]["reasons"]
    assert reasons == ["interrupted"]


def test_users_who_were_put_off_in_an_outage_that_never_ended_are_told() -> None:
    """Its intervals aren't those that latencies are judged by."""
    intervals = [interval(number) for number in range(17)]
    intervals += [{**interval(n), "counts": {"scheduled": RATE}, "histograms": {}} for n in (17, 18, 19)]
    for one in intervals[17:]:
        one |= {"connections": 10, "put_off": 30}
    made = report(intervals=intervals, targets={"recovery_max_s": 15, "operations_achieved_min": None})
    assert made["outages"][0]["until_s"] is None
    assert "25.00% of 40 users were in at the end of hold" in made["verdict"]["reasons"][0]


def test_a_server_that_ended_is_at_fault_of_merged_reports_too() -> None:
    whole = merge([report(server_died="the server ended by itself with status 9")])
    assert (whole["verdict"]["status"], whole["server_died"]) == (
        "fail",
        "the server ended by itself with status 9",
    )


def test_a_fault_seen_by_one_machine_is_everybodys() -> None:
    findings = Findings()
    findings.add("reordered", "doc: swapped")
    whole = merge([report(share=(1, 2)), report(share=(2, 2), findings=findings)])
    assert (whole["verdict"]["status"], whole["verdict"]["reordered"]) == ("fail", 1)


def test_a_share_that_was_ended_early_is_told_in_the_words_of_a_run() -> None:
    whole = merge([report(share=(1, 2)), report(share=(2, 2), ended_early="interrupted")])
    assert whole["verdict"]["status"] == "invalid"
    assert whole["verdict"]["reasons"] == ["interrupted"]
    assert (whole["ended_early"], whole["generator"]["lacking"]) == ("interrupted", ["interrupted"])


def test_why_edits_were_refused_is_said_of_shares_too() -> None:
    refused = [interval(number) for number in range(20)]
    for one in refused:
        one["counts"] |= {"acks": RATE - 1, "refused": 1}
    whole = merge([report(share=(1, 2)), report(share=(2, 2), intervals=refused)])
    assert "4 x RATE_LIMITED: raise limits.operations_per_minute" in str(whole["verdict"]["reasons"])


def stalled(ack_ms: float = 0.0) -> list[dict[str, Any]]:
    """Intervals of which two are silent, and one after them has an edit that waited so long."""
    found = [interval(number) for number in range(20)]
    for one in found[10:12]:
        one["counts"] = {"scheduled": RATE}
        one["histograms"] = {}
    if ack_ms:
        late = Latencies()
        late.record(int(1000 * ack_ms))
        found[12]["histograms"]["ack"] += late.pairs()
    return found


def test_of_shares_the_longest_wait_is_that_of_any_machine() -> None:
    slow = [interval(number, 90.0) if number > 11 else one for number, one in enumerate(stalled())]
    whole = merge([report(share=(1, 2), intervals=slow), report(share=(2, 2), intervals=stalled(5000.0))])
    assert whole["series"][12]["delivery_ms"]["p95"] > 90
    assert whole["series"][12]["ack_ms"]["max"] == pytest.approx(5000, rel=0.01)


def test_an_outage_of_one_share_is_one_of_the_run() -> None:
    """Its latencies had been taken out, and the sum of all showed no outage: it passed whatever it took."""
    targets = {"delivery_p95_ms": 100, "recovery_max_s": 0.5}
    parts = [report(share=(1, 5), intervals=stalled(), targets=targets)]
    parts += [report(share=(n, 5), targets=targets) for n in (2, 3, 4, 5)]
    whole = merge(parts)
    assert [one["verdict"]["status"] for one in (parts[0], parts[1], whole)] == ["fail", "pass", "fail"]
    (own,), (found,) = parts[0]["outages"], whole["outages"]
    assert {**found, "silent_s": own["silent_s"]} == own
    assert (own["silent_s"], found["silent_s"]) == (1.0, 0.0)
    assert whole["calm_histograms"]


def test_what_shares_are_judged_by_is_in_their_sum() -> None:
    targets = {"delivery_p95_ms": 100, "recovery_max_s": 5}
    parts = [report(share=(n, 2), intervals=stalled(), targets=targets) for n in (1, 2)]
    calm = [Latencies.decode(one["calm_histograms"]["delivery"]).total for one in (*parts, merge(parts))]
    assert 0 < calm[0] == calm[1] == calm[2] / 2
    assert merge([report(share=(1, 2)), report(share=(2, 2))])["calm_histograms"] == {}


@pytest.mark.parametrize(("back", "status"), [(None, "invalid"), (100, "pass"), (900, "fail")])
def test_shares_are_judged_by_the_syncs_that_a_run_is_judged_by(back: int | None, status: str) -> None:
    """Not by those of the arrivals, in a stage that isn't measured; both are shown."""
    intervals = [interval(number) for number in range(20)]
    arrivals, storm = Latencies(), Latencies()
    arrivals.record(500_000, 40)
    intervals[0]["histograms"]["sync"] = arrivals.pairs()
    if back is not None:
        storm.record(1000 * back, 5)
        intervals[10]["histograms"]["sync"] = storm.pairs()
    parts = [report(share=(n, 2), intervals=intervals, targets={"sync_p95_ms": 300}) for n in (1, 2)]
    whole = merge(parts)
    assert [one["verdict"]["status"] for one in (*parts, whole)] == [status] * 3
    assert whole["latency_ms"]["sync"]["count"] == 2 * parts[0]["latency_ms"]["sync"]["count"]
    for name in ("histograms", "connect_histograms"):
        assert whole[name].keys() == parts[0][name].keys()


@pytest.mark.parametrize(
    "parts",
    [
        [report(share=(1, 2))],
        [report(share=(1, 2)), report(share=(1, 2))],
        [report(share=(1, 2)), report(share=(2, 3))],
        [report(share=(1, 2)), report(share=(2, 2), seed=9)],
        [report(share=(1, 2)), {**report(share=(2, 2)), "protocol": "yjs"}],
        [report(share=(1, 2)), {**report(share=(2, 2)), "run_name": "another"}],
        [report(share=(1, 2)), {**report(share=(2, 2)), "started_at": report()["started_at"] - 1.1}],
    ],
)
def test_what_is_not_one_run_does_not_merge(parts: list[dict[str, Any]]) -> None:
    with pytest.raises(MergeError):
        merge(parts)


def test_a_tail_that_grew_sevenfold_is_no_noise_though_few_intervals_show_it() -> None:
    calm, hit = report(), report()
    for metric in ("delivery", "ack"):
        hit["latency_ms"][metric]["p99"] = 7.46 * calm["latency_ms"][metric]["p99"]
    assert "delivery p99" in regressions(calm, hit)


def test_a_third_of_a_millisecond_is_no_regression() -> None:
    before, after = report(delivery_ms=1.0), report(delivery_ms=1.35)
    assert not {name for name in regressions(before, after) if name.startswith("delivery")}
