"""Tiny models of the classes that hub models have: seeded weights, made and saved by code."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers.utils import logging

WORDS = (
    *("a", "the", "red", "green", "blue", "small", "large", "cat", "dog", "ball", "box", "tree"),
    *("car", "man", "woman", "child", "sits", "stands", "runs", "on", "under", "beside", "near"),
    *("in", "with", "and", "of", "picture", "photo", "shows", "one", "short", "sentence", "what"),
    *("question", "answer", "grass", "table", "street", "field", "water", "sky", "two", "three"),
    *("old", "new", "wet", "dry", "round", "flat", "matching", "text", "quite", "long", "rain"),
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<image>"]
QWEN = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
PAD, CLS, SEP, IMAGE = 0, 2, 3, 5
SIZE_PX, PATCH_PX = 32, 8
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} answer"
)
FIRST = (torch.nn.Conv2d, torch.nn.Conv3d)
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIZE_PX,
    "patch_size": PATCH_PX,
}


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Six that differ, not all of one shape."""
    sides = [(48, 48), (48, 48), (64, 40), (40, 64), (56, 56), (48, 48)]
    noise = random.Random(7)
    return [
        Image.frombytes("RGB", (4, 4), noise.randbytes(48)).resize(side, Image.Resampling.BICUBIC)
        for side in sides
    ]


@pytest.fixture(scope="session")
def git_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = transformers.GitConfig(
        **text,
        num_attention_heads=2,
        vision_config=TOWER,
        vocab_size=len(_vocabulary()),
        max_position_embeddings=128,
        bos_token_id=CLS,
        eos_token_id=SEP,
        pad_token_id=PAD,
    )
    processor = transformers.GitProcessor(_clip_pixels(), _bert_words())
    return _saved(transformers.GitForCausalLM, config, processor, tmp_path_factory.mktemp("git"))


@pytest.fixture(scope="session")
def blip2_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By language model: opt, t5."""
    words = {"vocab_size": len(_vocabulary()), "pad_token_id": PAD, "eos_token_id": SEP}
    opt = transformers.OPTConfig(
        **words,
        bos_token_id=CLS,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    t5 = transformers.T5Config(
        **words,
        decoder_start_token_id=PAD,
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_heads=2,
    )
    made = {}
    for name, text in {"opt": opt, "t5": t5}.items():
        processor = transformers.Blip2Processor(_blip_pixels(), _plain_words(), 4)
        folder = tmp_path_factory.mktemp(f"blip2-{name}")
        kind = transformers.Blip2ForConditionalGeneration
        made[name] = _saved(kind, _blip2_config(text_config=text), processor, folder)
    return made


@pytest.fixture(scope="session")
def blip2_itm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    processor = transformers.Blip2Processor(_blip_pixels(), _bert_words(), 4)
    kind = transformers.Blip2ForImageTextRetrieval
    return _saved(kind, _blip2_config(), processor, tmp_path_factory.mktemp("blip2-itm"))


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**TOWER, projection_dim=32),
        text_config=_llama(),
        image_token_index=IMAGE,
    )
    processor = transformers.LlavaProcessor(
        _clip_pixels(),
        _plain_words(),
        patch_size=PATCH_PX,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    folder = tmp_path_factory.mktemp("llava")
    return _saved(transformers.LlavaForConditionalGeneration, config, processor, folder)


@pytest.fixture(scope="session")
def qwen_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its pictures have as many tokens as their size asks for, so that prompts are padded."""
    ids = _vocabulary()
    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": PATCH_PX}
    config = transformers.Qwen2VLConfig(
        vision_config={**tower, "mlp_ratio": 2, "spatial_merge_size": 2, "temporal_patch_size": 2},
        text_config={
            **_llama().to_dict(),
            "model_type": "qwen2_vl_text",
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    limits = {"shortest_edge": 256, "longest_edge": 65536}
    pixels = {"patch_size": PATCH_PX, "size": limits}
    processor = transformers.Qwen2VLProcessor(
        transformers.Qwen2VLImageProcessor(**pixels),
        _plain_words(),
        transformers.Qwen2VLVideoProcessor(**pixels),
        chat_template=CHAT.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    folder = tmp_path_factory.mktemp("qwen")
    return _saved(transformers.Qwen2VLForConditionalGeneration, config, processor, folder)


@pytest.fixture
def count_rows() -> Callable[[torch.nn.Module], list[int]]:
    """A list of how many rows of pixels a tower's first layer was given, each time it was."""

    def watch(tower: torch.nn.Module) -> list[int]:
        seen: list[int] = []
        first = next(part for part in tower.modules() if isinstance(part, FIRST))
        first.register_forward_hook(lambda _first, args, _found: seen.append(len(args[0])))
        return seen

    return watch


def _saved(kind: type, config: object, processor: object, folder: Path) -> Path:
    """Weights so large that pictures change captions, and none of them near the start's zero."""
    torch.manual_seed(11)
    model = kind(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.25)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    if bars:
        logging.enable_progress_bar()
    processor.save_pretrained(folder)
    return folder


def _vocabulary() -> dict[str, int]:
    return {word: place for place, word in enumerate([*SPECIAL, *QWEN, *WORDS])}


def _plain_words() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel(_vocabulary(), unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        additional_special_tokens=["<image>", *QWEN],
    )


def _bert_words() -> transformers.BertTokenizer:
    return transformers.BertTokenizer(vocab=_vocabulary())


def _clip_pixels() -> transformers.CLIPImageProcessor:
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": SIZE_PX}, crop_size={"height": SIZE_PX, "width": SIZE_PX}
    )


def _blip_pixels() -> transformers.BlipImageProcessor:
    return transformers.BlipImageProcessor(size={"height": SIZE_PX, "width": SIZE_PX})


def _llama() -> transformers.LlamaConfig:
    return transformers.LlamaConfig(
        vocab_size=len(_vocabulary()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=CLS,
        eos_token_id=SEP,
        pad_token_id=PAD,
    )


def _blip2_config(**more: object) -> transformers.Blip2Config:
    return transformers.Blip2Config(
        vision_config=TOWER,
        qformer_config={
            "vocab_size": len(_vocabulary()),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "encoder_hidden_size": 32,
            "pad_token_id": PAD,
            "use_qformer_text_input": not more,
        },
        num_query_tokens=4,
        image_text_hidden_size=16,
        image_token_index=IMAGE,
        **more,
    )
