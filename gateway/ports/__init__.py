"""What the core asks of its surroundings, one file a port; and what a transport asks of the core.

Adapters implement these protocols; `node/` is the only place that chooses between them. A *resource* is
written `type:id` (`event:42`); a *change* is one committed submission; times are Unix milliseconds.
"""

from gateway.ports.admission import (
    AbuseWatch,
    Authenticator,
    Identity,
    Person,
    RateLimit,
    Role,
    Rules,
    Unsanitised,
)
from gateway.ports.bus import Bus, BusListener, LeaseListener, Leases, Member
from gateway.ports.log import (
    Absent,
    Batch,
    ClientKey,
    Committed,
    Duplicates,
    Failed,
    Forked,
    Opening,
    OpLog,
    Outcome,
    OwnChange,
    Reserved,
    Snapshot,
    Stale,
    Submitted,
)
from gateway.ports.transport import (
    Admission,
    Connection,
    Endpoint,
    Group,
    HttpService,
    Rejection,
    Session,
    Transport,
    UpgradeRequest,
)
from gateway.ports.values import Ack, Own, Record

__all__ = [
    "Absent",
    "AbuseWatch",
    "Ack",
    "Admission",
    "Authenticator",
    "Batch",
    "Bus",
    "BusListener",
    "ClientKey",
    "Committed",
    "Connection",
    "Duplicates",
    "Endpoint",
    "Failed",
    "Forked",
    "Group",
    "HttpService",
    "Identity",
    "LeaseListener",
    "Leases",
    "Member",
    "OpLog",
    "Opening",
    "Outcome",
    "Own",
    "OwnChange",
    "Person",
    "RateLimit",
    "Record",
    "Rejection",
    "Reserved",
    "Role",
    "Rules",
    "Session",
    "Snapshot",
    "Stale",
    "Submitted",
    "Transport",
    "Unsanitised",
    "UpgradeRequest",
]
