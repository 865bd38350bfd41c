"""Fixtures that tests of captioners and filters share."""

from chat_server import server
from tiny_models import (
    blip2_folders,
    blip2_itm_folder,
    count_rows,
    git_folder,
    llava_folder,
    pictures,
    qwen_folder,
)

__all__ = [
    "blip2_folders",
    "blip2_itm_folder",
    "count_rows",
    "git_folder",
    "llava_folder",
    "pictures",
    "qwen_folder",
    "server",
]
