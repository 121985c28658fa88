"""What the node says on /diagnostics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from nndepth_core.plausibility import Finding, Level
from nndepth_ros.log import printable


def status(
    name: str, hardware_id: str, message: str, values: Mapping[str, Any], level: int = 0
) -> DiagnosticStatus:
    """One DiagnosticStatus; level 0 is OK, 1 WARN, 2 ERROR."""
    return DiagnosticStatus(
        level=bytes([level]),
        name=name,
        hardware_id=hardware_id,
        message=printable(message),
        values=[KeyValue(key=key, value=printable(str(value))) for key, value in values.items()],
    )


def doctor_status(name: str, hardware_id: str, findings: list[Finding]) -> DiagnosticStatus:
    """The doctor's findings as one status: the worst one as its message, all as values."""
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
    """The message for /diagnostics."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = stamp
    return message
