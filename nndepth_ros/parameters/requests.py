"""Answers requests that set several parameters one by one."""

from __future__ import annotations

from collections.abc import Callable

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters

Answer = Callable[[SetParameters.Request, SetParameters.Response], SetParameters.Response]


def in_any_order(answer: Answer) -> Answer:
    """Wrap the callback of SetParameters so that the order of the parameters does not matter.

    Values are checked together, so one may be allowed only once another of the same request is
    set. What is refused is tried again for as long as others have been set since.
    """

    def answer_all(
        request: SetParameters.Request, response: SetParameters.Response
    ) -> SetParameters.Response:
        response = answer(request, response)
        results = list(response.results)
        before, refused = len(results), _refused(results)
        while 0 < len(refused) < before:
            again = SetParameters.Request(parameters=[request.parameters[at] for at in refused])
            answered = answer(again, SetParameters.Response()).results
            for at, result in zip(refused, answered, strict=True):
                results[at] = result
            before, refused = len(refused), _refused(results)
        response.results = results
        return response

    return answer_all


def _refused(results: list[SetParametersResult]) -> list[int]:
    return [at for at, result in enumerate(results) if not result.successful]
