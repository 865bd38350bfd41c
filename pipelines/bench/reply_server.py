"""A server that answers every chat completion at once with 1 KB, by seed another."""

import json
import sys

from aiohttp import web

_PLACES = ("upper", "lower", "inner", "outer", "middle", "far")


def _turns(seed: int) -> str:
    return "\n===\n".join(
        f"Question:\nWhat is to be said of the {place} part of the picture?\n===\nAnswer:\nIn the"
        f" {place} part a dog runs over grass of tone {seed} beside a river, and a few leaves"
        " lie about on the ground."
        for place in _PLACES
    )


async def _answer(request: web.Request) -> web.Response:
    asked = await request.json()
    message = {"role": "assistant", "content": _turns(asked["seed"])}
    usage = {"prompt_tokens": 500, "completion_tokens": 250, "total_tokens": 750}
    said = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return web.Response(
        text=json.dumps({**said, "choices": [choice]}), content_type="application/json"
    )


def main(port: int) -> None:
    """Listen on loopback until the process is ended."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", _answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
