"""What the service refuses, as one exception: a stable code for programs, a status, one line for people."""

from __future__ import annotations

from collections.abc import Mapping


class ServiceError(Exception):
    """A request that is not answered with detections.

    Attributes
    ----------
    code : str
        Stable; one a cause.
    status : int
        The HTTP status.
    headers : dict of str to str
        To go with the answer.
    """

    def __init__(self, code: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.status, self.headers = code, status, dict(headers or {})
