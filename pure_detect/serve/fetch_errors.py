"""Why a stranger's address gave no picture: one stable code a cause, and what the service answers to it."""

from __future__ import annotations

# Whatever goes wrong at the other end is the fault of the address, not of this service: no cause is a status over 499,
# which would look like an outage of ours to whoever watches it.
STATUS = {
    "url_malformed": 400,
    "url_scheme": 400,
    "url_userinfo": 400,
    "url_host": 400,
    "url_port": 400,
    "name_not_found": 422,
    "address_not_public": 403,
    "connection_failed": 422,
    "tls_failed": 422,
    "timed_out": 422,
    "bad_answer": 422,
    "answer_status": 422,
    "too_many_redirects": 422,
    "content_encoding": 422,
    "too_large": 413,
    "not_an_image": 415,
}


class FetchError(Exception):
    """An address that gives no picture, or may not be asked for one.

    No ValueError and no OSError: `http.client` takes those for faults in what it reads, and would hide the cause.

    Parameters
    ----------
    code : str
        One of :data:`STATUS`; it stays the same from version to version.
    message : str
        One line that names the address, what was expected and what was found.

    Attributes
    ----------
    code : str
    status : int
        The HTTP status with which a service answers whoever named the address.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(" ".join(message.split()))
        self.code, self.status = code, STATUS[code]
