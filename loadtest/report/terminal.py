"""The run in the terminal: a live view with a progress bar, and the verdict at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest import observe
from loadtest.evidence import COUNTED
from loadtest.options import Progress
from loadtest.protocols import OURS
from loadtest.recorder import summed
from loadtest.report.figures import compression_text, cores, milliseconds, number, seconds, size
from loadtest.scenario import Scenario

SPARKS_SHOWN = 32  # intervals, of the row of blocks
RECENT = 4  # intervals in the view's rates and percentiles
SAID_MAX = 12  # reasons of a verdict, and notes
SPARKS = "▁▂▃▄▅▆▇█"
STYLES = {"pass": "bold green", "fail": "bold red", "invalid": "bold yellow"}


def sparkline(values: list[float]) -> str:
    """Values as a row of blocks."""
    top = max(values, default=0.0) or 1.0
    return "".join(SPARKS[min(int(value / top * 7.999), 7)] for value in values)


def _stage_name(scenario: Scenario, at_s: float) -> str:
    over = at_s >= scenario.duration_s
    return "answers to come" if over else scenario.stages[scenario.stage_at(at_s)].name


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", min_width=12)
    table.add_column(justify="right", min_width=10)
    table.add_column()
    return table


def view(progress: Progress) -> RenderableType:
    """What the live view shows now."""
    scenario, intervals = progress.scenario, progress.intervals
    total_s = scenario.duration_s
    at_s = min(max(progress.at_s, 0.0), total_s)
    head = Text.assemble(
        (f" {scenario.name} ", "reverse"),
        f"  {progress.phase}: {_stage_name(scenario, at_s)}  ",
        (f"{at_s:.0f}", "bold"),
        f" of {total_s:.0f} s",
    )
    bar = Table.grid()  # a bar by itself doesn't end its line
    bar.add_row(ProgressBar(total=total_s, completed=at_s, width=64))
    if not intervals:
        return Group(head, bar)
    return Group(head, bar, _now_table(progress), _faults_line(progress))


def _now_table(progress: Progress) -> Table:
    intervals = progress.intervals
    recent = summed(intervals[-RECENT:])
    seconds = recent.seconds
    table = _grid()

    def rate(name: str, count: str) -> None:
        history = [one["counts"].get(count, 0) / one["span_s"] for one in intervals[-SPARKS_SHOWN:]]
        table.add_row(name, f"{number(recent.counts[count] / seconds)}/s", Text(sparkline(history), "cyan"))

    table.add_row(
        "connections",
        number(intervals[-1]["connections"]),
        Text(sparkline([one["connections"] for one in intervals[-SPARKS_SHOWN:]]), "cyan"),
    )
    rate("operations", "acks")
    rate("deliveries", "deliveries")
    for metric in ("delivery", "ack"):
        one = recent.histograms[metric].summary_ms()
        values = "  ".join(f"{name} {milliseconds(one[name])}" for name in ("p50", "p95", "p99", "max"))
        table.add_row(f"{metric} time", "", values)
    table.add_row("generator", cores(recent.cpu_s / seconds), f"late p99 {milliseconds(recent.lag_p99_ms())}")
    samples = progress.samples[-2:]
    used = observe.cores(*samples) if len(samples) == 2 else None
    if used is not None:
        table.add_row("server", cores(max(used, 0.0)), f"RSS {size(samples[1]['rss_bytes'])}")
    return table


def _faults_line(progress: Progress) -> Text:
    names = (*COUNTED, "refused", "stalled", "failed")
    counts = {name: sum(one["counts"].get(name, 0) for one in progress.intervals) for name in names}
    found = [f"{counts[name]:,} {name}" for name in COUNTED if counts[name]]
    refused = counts["refused"] + counts["stalled"]
    if refused:
        found.append(f"{refused:,} refused")
    if counts["failed"]:
        found.append(f"{counts['failed']:,} connections failed")
    if found:
        return Text("so far: " + ", ".join(found), "bold red")
    return Text("so far: no gap, no duplicate, no reordering", "green")


class LiveView:
    """A context whose `show` is the run's `on_progress`; in a pipe it says a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )
        self._said_s = -10.0

    def __enter__(self) -> LiveView:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Draw the state of the run."""
        if self._live:
            self._live.update(view(progress), refresh=True)
        elif progress.at_s - self._said_s >= 5 and progress.intervals:
            self._said_s = progress.at_s
            recent = summed(progress.intervals[-RECENT:])
            seconds = recent.seconds
            with suppress(OSError):  # of a full disk: what was measured so far isn't lost for it
                self._console.print(
                    f"{progress.at_s:6.0f} s  {_stage_name(progress.scenario, progress.at_s):<16} "
                    f"{progress.intervals[-1]['connections']:>6} connections  "
                    f"{recent.counts['acks'] / seconds:>8.0f} op/s  "
                    f"{recent.counts['deliveries'] / seconds:>8.0f} deliveries/s  "
                    f"p95 {milliseconds(recent.histograms['delivery'].summary_ms()['p95'])}",
                    highlight=False,
                    soft_wrap=True,
                )


def outage_text(outage: Mapping[str, Any]) -> str:
    """An outage in words."""
    recovered = outage["recovered_s"]
    over = "not over at the end" if recovered is None else f"recovered after {seconds(recovered)}"
    return (
        f"{seconds(outage['duration_s'])}, of it silent {seconds(outage['silent_s'])}; {over}; "
        f"longest wait {milliseconds(outage['wait_max_ms'])}"
    )


def connections_text(connections: Mapping[str, int]) -> str:
    """How attempts to connect ended, and what became of connections that were lost."""
    told = f"{connections['succeeded']:,} of {connections['attempted']:,} attempts succeeded"
    if connections["deferred"]:
        told += f", {connections['deferred']:,} were put off"
    if connections.get("given_up"):
        told += f", {connections['given_up']:,} the schedule cut off before"
    if connections["disconnected"]:
        told += f"; {connections['recovered']:,} of {connections['disconnected']:,} lost ones came back"
    if connections.get("caught_up"):
        told += f"; {connections['caught_up']:,} changes came together to who missed them"
    return told


def _say(console: Console, mark: str, texts: Sequence[str]) -> None:
    for text in texts[:SAID_MAX]:
        console.print(f"  {mark} {text}", highlight=False, markup=False)
    if len(texts) > SAID_MAX:
        console.print(f"  … and {len(texts) - SAID_MAX} more in the report", highlight=False)


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The verdict and the figures that matter."""
    verdict = report["verdict"]
    status = verdict["status"]
    spoken = report.get("protocol", OURS)
    other = "" if spoken == OURS else f"  over {spoken}"
    console.print(Text(f"\n{status.upper()}  {report['scenario']}{other}", STYLES[status]))
    _say(console, "•", verdict["reasons"])
    _say(console, "note:", verdict["notes"])
    rates, latency, server, own = report["rates"], report["latency_ms"], report["server"], report["generator"]
    connections = report["connections"]
    table = _grid()
    table.add_row(
        "rates",
        f"{number(rates['operations_per_s'])} op/s",
        f"{number(rates['deliveries_per_s'])} deliveries/s",
    )
    for name, one in latency.items():
        if one["count"]:
            values = "  ".join(f"{key} {milliseconds(one[key])}" for key in ("p50", "p95", "p99", "max"))
            table.add_row(name, number(one["count"]), values)
    table.add_row("connections", number(connections["peak"]), connections_text(connections))
    compression = report.get("compression")
    if compression:
        table.add_row("compressed", number(compression["connections"]), compression_text(compression))
    for one in report["outages"]:
        table.add_row("outage", f"at {seconds(one['from_s'])}", outage_text(one))
    memory = f"RSS {size(server['rss_bytes'])}, socket buffers {size(server['kernel_socket_bytes'])}"
    table.add_row("server", cores(server["cpu_cores"]), memory)
    table.add_row(
        "generator",
        cores(own["cpu_cores"]),
        f"late p99 {milliseconds(own['lag_p99_ms'])}, {own['missed']:,} edits late, "
        f"{own['processes']} process(es); other processes {cores(own.get('others_cores'))}",
    )
    console.print(table)
