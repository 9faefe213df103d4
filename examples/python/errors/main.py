"""What may become of a call, and what to do about it."""

import datetime

import shm_protocol
from shm_protocol import CallTimeout, EncodeError, PeerUnavailable, RemoteError, UnknownMethod

with shm_protocol.connect(wait=10) as node:
    # The function threw. The connection is fine; type, message, data and stack are those of the other side.
    try:
        node.call("form.check", {"age": 200})
    except RemoteError as error:
        print("RemoteError:", error.type, "|", error.message, "|", error.data, "|", "server.ts" in error.stack)

    # No answer in time. The function may have run, or may still: call again only what may run twice.
    try:
        node.call("form.report", timeout=0.2)
    except CallTimeout as error:
        print("CallTimeout:", error)

    # A value that cannot be sent; the path says where it is. Nothing was sent: convert it and call again.
    languages = {"en", "fr"}
    try:
        node.call("form.check", {"age": 20, "languages": languages})
    except EncodeError as error:
        print("EncodeError:", error)
    print("as a list:", node.call("form.check", {"age": 20, "languages": sorted(languages)}))

    # Naive times are refused for the same reason: the other side could only guess which zone is meant.
    try:
        node.call("form.check", {"age": 20, "born": datetime.datetime(2006, 1, 2)})  # noqa: DTZ001
    except EncodeError as error:
        print("EncodeError:", error)

    # Nothing of that name is exposed: a typing error, or an older server.
    try:
        node.call("form.chekc", {"age": 20})
    except UnknownMethod as error:
        print("UnknownMethod:", error)

# Nobody listens. The call was not made, so it may be made again; connect(wait=10) waits for a Node that is starting.
try:
    shm_protocol.connect("/nowhere/node.sock")
except PeerUnavailable as error:
    print("PeerUnavailable:", error)
