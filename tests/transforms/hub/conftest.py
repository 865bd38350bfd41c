"""Fixtures that tests of loading share."""

from tiny_models import blip2_itm_folder, git_folder

__all__ = ["blip2_itm_folder", "git_folder"]
