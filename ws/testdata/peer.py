"""Offers permessage-deflate in several ways, and expects its messages back."""

import asyncio
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

# What is offered, and the parameters that are agreed on; None: nothing is.
both = {"client_no_context_takeover", "server_no_context_takeover"}
window = both | {"server_max_window_bits=15"}
OFFERS = [
    ({}, both),
    ({"client_max_window_bits": True}, both),
    ({"client_max_window_bits": 9}, both),
    ({"client_no_context_takeover": True, "server_no_context_takeover": True}, both),
    ({"server_max_window_bits": 15}, window),
    ({"server_max_window_bits": 15, "client_max_window_bits": 15}, window),
    ({"server_max_window_bits": 12}, None),
]
TEXTS = ["", "x", "Hello" * 50, "".join(map(str, range(10_000))), "zwölf " * 5_000]


async def talk(url, offer, agreed):
    factory = ClientPerMessageDeflateFactory(**offer)
    async with websockets.connect(url, extensions=[factory], compression=None) as ws:
        answer = ws.response_headers.get("Sec-WebSocket-Extensions")
        params = None if answer is None else set(answer.split("; ")[1:])
        if params != agreed or bool(ws.extensions) != (agreed is not None):
            sys.exit(f"{offer}: {answer}")
        for text in TEXTS:
            await ws.send(text)
            if await ws.recv() != text:
                sys.exit(f"{offer}: other text")


async def main(url):
    for offer, agreed in OFFERS:
        await talk(url, offer, agreed)
    async with websockets.connect(url) as ws:  # as it comes
        await ws.send("default")
        if await ws.recv() != "default":
            sys.exit("default: other text")


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 60))
