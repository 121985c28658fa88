"""Makes the messages of the node on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from nndepth_core.plausibility import Finding, Level
from nndepth_ros.log import printable


def status(
    name: str, hardware_id: str, message: str, values: Mapping[str, Any], level: int = 0
) -> DiagnosticStatus:
    """Make one DiagnosticStatus; level 0 is OK, 1 WARN, 2 ERROR."""
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        hardware_id=hardware_id,
        message=printable(message),
        values=[KeyValue(key=key, value=printable(str(value))) for key, value in values.items()],
    )


def doctor_status(name: str, hardware_id: str, findings: list[Finding]) -> DiagnosticStatus:
    """Make one status of the doctor's findings: the worst is its message, all are its values."""
    if not findings:
        return status(name, hardware_id, 'nothing wrong', {})
    worst = findings[0]
    return status(
        name,
        hardware_id,
        worst.text,
        {f'{Level(finding.level).name} {finding.code}': finding.text for finding in findings},
        int(worst.level),
    )


def array(stamp: Any, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Make the message for /diagnostics."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = stamp
    return message
