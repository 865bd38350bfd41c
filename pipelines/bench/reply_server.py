"""A server that answers every chat completion at once with the same reply of 1 KB."""

import json
import sys

from aiohttp import web

_TURNS = "\n===\n".join(
    f"Question:\nWhat is to be said of part {n} of the picture?\n===\nAnswer:\nIn part {n} a dog"
    " runs over the grass beside a river, and a few leaves lie about on the ground near the water."
    for n in ("one", "two", "three", "four", "five", "six")
)


async def _answer(request: web.Request) -> web.Response:
    await request.read()
    message = {"role": "assistant", "content": _TURNS}
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
