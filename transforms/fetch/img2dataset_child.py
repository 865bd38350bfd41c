"""The process that img2dataset's Downloader runs in, for one shard; started by its engine.

It has a process to itself because it needs one: it points file descriptors 1 and 2 at /dev/null
while it resizes, for all threads; its way of opening URLs can be bounded for a whole process
only; and its thread pool can be ended for certain only by ending its process.
"""

import importlib
import json
import os
import sys
import threading
import urllib.request
from typing import Any

from transforms.fetch.bounded_opener import make_opener
from transforms.fetch.policy import FetchPolicy

SHARD = 0
LARGEST_SHARD = 10_000
COLUMNS = ("url", "image")

# img2dataset's own default: servers that ask not to be used are not.
_OPT_OUT = ("noai", "noimageai", "noindex", "noimageindex")


def main() -> None:
    """Read the job, a JSON line on stdin, and do it. An end of stdin is the parent's death."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    policy = FetchPolicy.model_validate(job["policy"])
    urllib.request.install_opener(make_opener(policy))
    _downloader(policy, job["folder"]).download_shard((SHARD, job["urls"]))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _downloader(policy: FetchPolicy, folder: str) -> Any:
    # webdataset imports torch where it finds it: seconds and memory that nothing here needs.
    sys.modules["torch"] = None  # type: ignore[assignment]
    downloader = importlib.import_module("img2dataset.downloader")
    resizer = importlib.import_module("img2dataset.resizer")
    writer = importlib.import_module("img2dataset.writer")
    return downloader.Downloader(
        sample_writer_class=writer.WebDatasetSampleWriter,
        resizer=resizer.Resizer(
            image_size=policy.image_size_px,
            resize_mode=policy.resize_mode,
            resize_only_if_bigger=policy.resize_only_if_bigger,
            encode_quality=policy.jpeg_quality,
            encode_format="jpg",
            max_image_area=policy.max_pixels,
        ),
        thread_count=policy.concurrency,
        save_caption=False,
        extract_exif=True,
        output_folder=folder,
        column_list=list(COLUMNS),
        timeout=policy.timeout_s,
        number_sample_per_shard=LARGEST_SHARD,
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format="jpg",
        retries=policy.retries,
        user_agent_token=policy.user_agent.partition("/")[0],
        disallowed_header_directives=list(_OPT_OUT),
    )


if __name__ == "__main__":
    main()
