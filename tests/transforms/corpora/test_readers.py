"""A corpus is read back by the libraries that training code reads it with."""

import io
import json
from argparse import Namespace
from functools import partial
from pathlib import Path

import open_clip
import pytest
import webdataset as wds
from open_clip_train import data as open_clip_data
from open_clip_train.data import get_dataset_size, get_wds_dataset
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

# webdataset leaves the tars it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

CAPTIONS = ['a "best" caption', *(f"picture number {row}" for row in (1, 4, 6, 7, 8))]


def _tars(corpus: Path) -> list[str]:
    return sorted(map(str, corpus.glob("*.tar")))


def test_the_webdataset_library_reads_every_sample(corpus: Path) -> None:
    dataset = wds.WebDataset(_tars(corpus), shardshuffle=False).decode("pil")
    samples = list(dataset.rename(image="jpg;png;jpeg;webp", text="txt", record="json"))
    assert [sample["text"] for sample in samples] == CAPTIONS
    for sample in samples:
        assert sample["image"].size == (24, 16)
        assert sample["record"]["uid"] == sample["__key__"]
        assert sample["record"]["caption"] == sample["text"]


def test_a_tuple_reader_gets_bytes_that_decode(corpus: Path) -> None:
    dataset = wds.WebDataset(_tars(corpus), shardshuffle=False).to_tuple("jpg;png", "txt", "json")
    for image, text, record in dataset:
        Image.open(io.BytesIO(image)).load()
        assert json.loads(record)["caption"] == text.decode()


def _loaded(corpus: Path, *, train: bool) -> tuple[list[str], int]:
    """Captions that open_clip's loader yields, and the samples it says an epoch has."""
    braces = str(corpus / "{00000..00002}.tar")
    args = Namespace(
        train_data=braces,
        val_data=braces,
        train_num_samples=None,
        val_num_samples=None,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=2,
        workers=0,
        world_size=1,
    )
    tokenizer = open_clip.get_tokenizer("RN50")
    info = get_wds_dataset(args, pil_to_tensor, is_train=train, tokenizer=tokenizer)
    captions = []
    for images, tokens in info.dataloader:
        assert images.shape[1:] == (3, 16, 24)
        captions += [tokenizer.decode(row[: row.argmax()].tolist()[1:]).strip() for row in tokens]
    return captions, info.dataloader.num_samples


def test_open_clips_loader_reads_every_sample(corpus: Path) -> None:
    captions, _ = _loaded(corpus, train=False)
    assert [caption.replace(" ", "") for caption in captions] == [
        caption.replace(" ", "") for caption in CAPTIONS
    ]


def test_open_clips_training_epoch_has_the_samples_that_sizes_says(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open_clip 3.3 does not know the mark that webdataset 0.2.111 puts after each tar."""
    unmarked = partial(open_clip_data.tar_file_expander, eof_value=None)
    monkeypatch.setattr(open_clip_data, "tar_file_expander", unmarked)
    assert get_dataset_size(str(corpus / "{00000..00002}.tar")) == (6, 3)
    captions, num_samples = _loaded(corpus, train=True)
    assert num_samples == 6
    assert sorted(caption.replace(" ", "") for caption in captions) == sorted(
        caption.replace(" ", "") for caption in CAPTIONS
    )
