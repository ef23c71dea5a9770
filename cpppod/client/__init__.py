"""EtherNet/IP client: connect, read, write, browse; blocking, and async (`AsyncConnector`).

    from cpppod import client

    with client.connector(host="10.0.0.5", timeout=2.0) as connection:
        operations = client.parse_operations(["Speed", "Limit=(REAL)3.5"])
        for result in connection.pipeline(operations, depth=10):
            print(result.description, result.value, result.text)

`client`, `connector` and `implicit` are the classes under their documented names.
"""

from typing import TYPE_CHECKING, Any

from cpppod.client.blocking import Connector, Implicit
from cpppod.client.connection import Client, await_response, harvest
from cpppod.client.responses import Response, enip_format
from cpppod.client.results import Result, summary_line
from cpppod.protocols.cip.epath import parse_connection_path, parse_route_path
from cpppod.protocols.enip.originator.errors import (
    CommunicationCeased,
    EnipStatusError,
    ForwardOpenRefused,
    OriginatorError,
    ReplyTimeout,
)
from cpppod.protocols.enip.originator.operations import (
    Operation,
    OperationError,
    attribute_operations,
    format_path,
    parse_operations,
    parse_path,
)
from cpppod.protocols.enip.originator.pccc import pccc_operations
from cpppod.protocols.model.errors import EncodeError

if TYPE_CHECKING:
    from cpppod.client.asynchronous import AsyncConnector

client = Client
connector = Connector
implicit = Implicit

__all__ = [
    "AsyncConnector",
    "Client",
    "CommunicationCeased",
    "Connector",
    "EncodeError",
    "EnipStatusError",
    "ForwardOpenRefused",
    "Implicit",
    "Operation",
    "OperationError",
    "OriginatorError",
    "ReplyTimeout",
    "Response",
    "Result",
    "attribute_operations",
    "await_response",
    "client",
    "connector",
    "enip_format",
    "format_path",
    "harvest",
    "implicit",
    "parse_connection_path",
    "parse_operations",
    "parse_path",
    "parse_route_path",
    "pccc_operations",
    "summary_line",
]


def __getattr__(name: str) -> Any:
    """`AsyncConnector`, imported where it is named: without it asyncio is not needed."""
    if name != "AsyncConnector":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from cpppod.client.asynchronous import AsyncConnector

    return AsyncConnector
