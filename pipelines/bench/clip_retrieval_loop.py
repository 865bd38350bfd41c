"""clip-retrieval's own inference loop, run by the interpreter of its own environment.

Its Runner with its WebdatasetReader, ClipMapper and NumpyWriter; only the logger is ours: it
keeps the facts in memory where clip-retrieval's would start a process to write them. The model is
loaded once. For each line {"batch_size", "workers"} on stdin the tars are gone through once, and
{"images", "seconds"} is printed, the sums of what its Runner tells of each batch, which is all but
the loading of the model.

`python clip_retrieval_loop.py MODEL OUT TAR...`
"""
# pyright: reportMissingImports=false
# pyright: reportAttributeAccessIssue=false

import json
import sys
from typing import Any

PREFIX = "facts: "  # the libraries print to stdout too


class Sums:
    """In place of clip-retrieval's LoggerWriter."""

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0

    def start(self) -> None:
        """Nothing to prepare."""

    def end(self) -> None:
        """Nothing to close."""

    def __call__(self, facts: dict[str, Any]) -> None:
        self.images += facts["sample_count"]
        self.seconds += facts["total_duration"]


def main(model: str, out: str, *tars: str) -> None:
    """Serve until stdin ends."""
    from all_clip import load_clip
    from clip_retrieval.clip_inference.mapper import ClipMapper
    from clip_retrieval.clip_inference.reader import WebdatasetReader
    from clip_retrieval.clip_inference.runner import Runner
    from clip_retrieval.clip_inference.writer import NumpyWriter

    kinds = {"enable_text": True, "enable_image": True, "enable_metadata": False}
    mapper = ClipMapper(
        **kinds,
        use_mclip=False,
        clip_model=model,
        use_jit=False,
        mclip_model="",
        clip_cache_path=None,
    )
    _, preprocess, tokenizer = load_clip(clip_model=model, use_jit=False)
    print(PREFIX + json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        settings, sums = json.loads(line), Sums()

        def read(sampler: Any, settings: dict[str, int] = settings) -> Any:
            sizes = (settings["batch_size"], settings["workers"])
            return WebdatasetReader(sampler, preprocess, tokenizer, list(tars), *sizes, **kinds)

        def write(partition: int) -> Any:
            return NumpyWriter(partition, out, **kinds, output_partition_count=1)

        Runner(read, lambda: mapper, write, lambda _, sums=sums: sums, 1)(0)
        facts = {"images": sums.images, "seconds": sums.seconds}
        print(PREFIX + json.dumps(facts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
