"""What a room's window keeps of an edit of a title: resident and charged bytes, as JSON."""

from __future__ import annotations

import orjson
import psutil

from gateway import ot
from gateway.rooms.submission import Submission, record_of
from gateway.rooms.window import Entry, Window
from tests.rooms.parts import Author

EDITS = 20_000


def main() -> None:
    process, window, document = psutil.Process(), Window(), {"title": "", "location": "Room 1"}
    before = process.memory_info().rss
    for version in range(1, EDITS + 1):
        patch = [{"op": "replace", "path": "/title", "value": f"title {version}"}]
        operations = ot.lower(document, patch, None, ot.UNLIMITED)
        submission = Submission(
            Author("ann"), "ann", "ann-laptop", f"op-{version}", version - 1, patch, operations, 0.0, 100
        )
        after = ot.apply(document, operations)
        record = record_of(submission, version, patch, 1_700_000_000_000)
        window.append(Entry(record, submission.op_id, patch, operations, document, after))
        document = after
    resident = (process.memory_info().rss - before) / EDITS
    print(orjson.dumps({"resident_bytes": resident, "charged_bytes": window.bytes / EDITS}).decode())


if __name__ == "__main__":
    main()
