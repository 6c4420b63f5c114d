"""Reports in the forms of other tools, targets from the command line, stored baselines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click import UsageError
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from loadtest.cli.main import main
from loadtest.cli.outputs import with_targets
from loadtest.options import Progress
from loadtest.report.exports import COLUMNS, junit, markdown, prometheus, samples_csv
from loadtest.scenario import load, parse
from loadtest.web.state import State
from tests.loadtest.reports import interval, report, scenario_data


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def cases(made: dict) -> dict[str, ElementTree.Element]:
    suite = ElementTree.fromstring(junit(made))
    assert int(suite.get("tests", 0)) == len(suite)
    return {case.get("name", ""): case for case in suite}


def test_junit_has_a_case_for_each_fault_and_for_the_targets():
    found = cases(report())
    assert {"gaps", "duplicates", "lost_acknowledged", "target", "generator", "run"} <= set(found)
    assert all(len(case) == 0 for case in found.values())


def test_a_fault_and_a_missed_target_fail_their_cases():
    made = report()
    made["verdict"] |= {
        "status": "fail",
        "gaps": 2,
        "reasons": ["2 x gaps: versions were skipped", "target: delivery p95 is 300 ms", "gaps: load-x <1>"],
    }
    found = cases(made)
    assert found["gaps"][0].tag == "failure"
    assert found["gaps"][0].text == "gaps: load-x <1>"
    assert (found["target"][0].tag, found["target"][0].get("message")) == (
        "failure",
        "target: delivery p95 is 300 ms",
    )
    assert len(found["duplicates"]) == len(found["run"]) == 0


def test_a_run_that_says_nothing_is_an_error_of_the_generator():
    made = report()
    made["verdict"] |= {"status": "invalid", "reasons": ["generator: edits left 80 ms late at p99"]}
    assert cases(made)["generator"][0].tag == "error"


def test_samples_are_a_line_each():
    made = report()
    rows = list(csv.DictReader(io.StringIO(samples_csv(made))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(made["series"])
    assert float(rows[-1]["delivery_p95_ms"]) == made["series"][-1]["delivery_ms"]["p95"]


def test_the_summary_tells_the_verdict_the_latencies_and_the_reasons():
    made = report()
    assert markdown(made).startswith("### ✅ pass: made <up>")
    made["verdict"] |= {"status": "fail", "reasons": ["a | b"]}
    text = markdown(made)
    assert "### ❌ fail" in text
    assert "- a \\| b" in text
    assert "| delivery | " in text


def test_the_summary_has_the_notes_and_the_outages_and_says_how_much_it_leaves_out():
    made = report()
    made["verdict"]["notes"] = [f"note <{number}>" for number in range(20)]
    made["outages"] = [
        {"from_s": 3.0, "duration_s": 1.5, "silent_s": 0.5, "recovered_s": 1.2, "wait_max_ms": 1400.0}
    ]
    text = markdown(made)
    assert (
        "- note: note &lt;11>\n- … and 8 more in the report\n- outage at 3.0 s: 1.5 s, of it silent" in text
    )
    assert "note &lt;12>" not in text


def test_prometheus_reads_what_the_page_shows():
    state = State()
    progress = Progress(
        parse(scenario_data()), "running", at_s=5.0, intervals=[interval(n) for n in range(8)]
    )
    state.show(progress)
    families = {one.name: one for one in text_string_to_metric_families(prometheus(state.document()))}
    assert families["loadtest_operations_per_second"].samples[0].value == 200
    quantiles = {one.labels["quantile"]: one.value for one in families["loadtest_delivery_seconds"].samples}
    assert quantiles["0.95"] == pytest.approx(0.02, rel=0.2)
    assert families["loadtest_faults"].samples[0].value == 0
    assert prometheus(State().document()).startswith("# TYPE loadtest_delivery_seconds gauge")


def test_targets_come_from_the_command_line():
    made = with_targets(load("smoke"), ["delivery_p95_ms=12", "delivery_p99_ms=none"])
    assert (made.targets.delivery_p95_ms, made.targets.delivery_p99_ms) == (12, None)
    assert made.stages == load("smoke").stages
    for wrong in ("delivery_p95_ms", "speed=1", "delivery_p95_ms=-1", "delivery_p95_ms=x"):
        with pytest.raises(UsageError, match="--target"):
            with_targets(load("smoke"), [wrong])


def test_a_baseline_is_kept_and_compared_with(tmp_path: Path):
    before, after, folder = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "kept"
    before.write_text(json.dumps(report(delivery_ms=20.0)))
    after.write_text(json.dumps(report(delivery_ms=60.0)))
    assert call("baseline", "main", before, "--baselines", folder).exit_code == 0
    result = call("compare", "--baseline", "main", "--baselines", folder, after)
    assert result.exit_code == 1, result.output
    assert "worse" in result.output
    assert call("compare", "--baseline", "main", "--baselines", folder, before).exit_code == 0


def test_a_baseline_that_is_missing_or_misnamed_is_told(tmp_path: Path):
    made = tmp_path / "r.json"
    made.write_text(json.dumps(report()))
    missing = call("compare", "--baseline", "main", "--baselines", tmp_path / "kept", made)
    assert missing.exit_code == 2
    assert "loadtest baseline main REPORT" in missing.output
    assert call("compare", made).exit_code == 2
    assert "letters" in call("baseline", "../x", made).output


def test_merge_writes_every_form(tmp_path: Path):
    made = tmp_path / "r.json"
    made.write_text(json.dumps(report()))
    files = {form: tmp_path / f"out.{form}" for form in ("json", "html", "junit", "csv", "markdown")}
    options = [part for form, path in files.items() for part in (f"--{form}", path)]
    result = call("merge", made, *options)
    assert result.exit_code == 0, result.output
    assert all(path.stat().st_size > 100 for path in files.values())
