"""Turns the errors of KFP's API client into katibflow's own, with what the user can do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from katibflow.client.access import COOKIES, IAP_CLIENT, TOKEN
from katibflow.client.base import NotFound, Unreachable
from katibflow.client.shortening import one_line
from katibflow.errors import InputError, RunnerError
from katibflow.steps.kfp_service import ACCOUNT_TOKEN

__all__ = ["translated"]


@contextlib.contextmanager
def translated(address: str) -> Iterator[None]:
    """Turns each error of KFP's API client and of its HTTP library into one of katibflow's.

    Args:
        address: The installation's address, for the messages.

    Raises:
        InputError: The address is not valid.
        NotFound: The installation has no such object.
        Unreachable: The installation does not answer, or cannot now.
        RunnerError: The installation refuses, or its answer cannot be used.
    """
    import urllib3
    from kfp_server_api import (  # type: ignore[import-untyped]
        ApiException,
        OpenApiException,
    )

    try:
        yield
    except ApiException as error:
        raise _refusal(address, error) from error
    except (urllib3.exceptions.LocationParseError, urllib3.exceptions.LocationValueError) as error:
        raise InputError(
            f"--host: found {address}; allowed: an address, as http://localhost:8080"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, urllib3.exceptions.SSLError):
            raise RunnerError(
                f"{address}: its certificate is not trusted: {reason}; allowed: --ca-file with "
                "the certificates of the authority that signed it"
            ) from error
        raise Unreachable(f"{address} does not answer: {_words(reason)}") from error
    except (OpenApiException, AttributeError, LookupError, TypeError, ValueError) as error:
        raise RunnerError(f"{address}: an answer that cannot be used: {error}") from error


def _refusal(address: str, error: Any) -> RunnerError:
    status = int(error.status or 0)
    message = _message(error.body) or str(error.reason or "").strip()
    text = f"{address} answers {status}: {message}"
    match status:
        case 401:
            return RunnerError(
                f"{text}; allowed: a token that is still good in {TOKEN}, the session's cookies in "
                f"{COOKIES}, {ACCOUNT_TOKEN}, or {IAP_CLIENT}"
            )
        case 403:
            return RunnerError(f"{text}; the account needs the rights for it in its namespace")
        case 404:
            return NotFound(text)
        case 0:
            return RunnerError(f"{address}: an answer that cannot be used: {message}")
        case 408 | 429:
            return Unreachable(text)
        case _ if status >= 500:
            return Unreachable(text)
        case _:
            return RunnerError(text)


def _message(body: object) -> str:
    """Returns the server's message from an answer in JSON, or else the answer's beginning."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        data = json.loads(text)
        text = str(data.get("message") or data.get("error_message") or data.get("error") or text)
    except (AttributeError, ValueError):
        if "<html" in text[:1000].lower():
            return "a web page"
    return one_line(text)


def _words(reason: object) -> str:
    """Returns why a connection failed, without the Python objects that the text begins with."""
    text = str(reason)
    return text.rpartition(">: ")[2] if ">: " in text else text
