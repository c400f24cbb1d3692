"""What the service refuses, as one exception: a stable code for programs, a status, one line for people."""

from __future__ import annotations

from collections.abc import Mapping

# One code a cause; codes and statuses stay the same from version to version. Those of fetching: fetch_errors.py.
OF_ALL = {
    "unknown_model": 404,
    "unknown_parameter": 400,
    "repeated_parameter": 400,
    "invalid_parameter": 400,
    "not_an_image": 415,
    "unsupported_format": 415,
    "too_many_pixels": 413,
    "too_many_scans": 422,
    "damaged_image": 422,
    "internal_error": 500,
    "model_failed": 500,
    "client_gone": 499,  # nginx's number for it: nobody sees it but the log
    "overloaded": 503,
    "time_limit": 504,
}
OF_ADDRESSES = {"missing_parameter": 400}
OF_BODIES = {
    "empty_body": 400,
    "truncated_body": 400,
    "malformed_body": 400,
    "body_too_slow": 408,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "unsupported_content_encoding": 415,
    "malformed_form": 400,
    "missing_image": 400,
    "several_images": 400,
    "unknown_field": 400,
    "form_too_large": 413,
}
STATUS = OF_ALL | OF_ADDRESSES | OF_BODIES


class ServiceError(Exception):
    """A request that is not answered with detections.

    Parameters
    ----------
    code : str
        One of :data:`STATUS`.
    message : str
        One line that says what was expected and what was found.
    headers : dict of str to str, optional

    Attributes
    ----------
    code : str
    status : int
        The HTTP status.
    headers : dict of str to str
        To go with the answer.
    """

    def __init__(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.status, self.headers = code, STATUS[code], dict(headers or {})
