"""The teacher: three ImageNet MobileNets, whose features the pocket image towers learn to give.

They run under ai-edge-litert (the `pocket` extra) and are needed for training only.
"""
# The `pocket` extra is not part of what checks run with.
# pyright: reportMissingImports=false

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from schemas.errors import BadInputError

F32 = npt.NDArray[np.float32]
TEACHER_PX = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One TFLite file, and which of its tensors is the last map of features before pooling."""

    file: str
    tensor: int  # its index in the file's only subgraph
    width: int


NETWORKS = (
    Network(file="mobilenet_v1_1.0_224_quant_embedding_extractor.tflite", tensor=81, width=1024),
    Network(file="mobilenet_v2_1.0_224_quant.tflite", tensor=168, width=1280),
    Network(file="tf2_mobilenet_v2_1.0_224_ptq.tflite", tensor=171, width=1280),
)
FEATURE_WIDTH = sum(network.width for network in NETWORKS)
MAP_SIDE = 7  # places of a map of features, along each side


class Teacher:
    """Runs the networks; one set of interpreters a thread, each on one core.

    Raises: BadInputError: a network's file is missing."""

    def __init__(self, folder: Path) -> None:
        missing = [n.file for n in NETWORKS if not (folder / n.file).is_file()]
        if missing:
            raise BadInputError(f"{folder}: the teacher lacks {', '.join(missing)}")
        self._models = [_with_output(folder / n.file, n.tensor) for n in NETWORKS]
        self._mine = local()

    def maps(self, image: Image.Image) -> F32:
        """The features at each place of one image: (MAP_SIDE**2, FEATURE_WIDTH), all >= 0.

        Their mean over the places is what the networks' own last layers read."""
        pixels = np.asarray(image.resize((TEACHER_PX, TEACHER_PX), Image.Resampling.BICUBIC))
        maps = [_run(interpreter, pixels) for interpreter in self._interpreters()]
        return np.concatenate(maps, axis=1)

    def maps_of(self, images: Sequence[Image.Image], threads: int) -> F32:
        """The maps of many images: (N, MAP_SIDE**2, FEATURE_WIDTH), in the order of `images`."""
        with ThreadPoolExecutor(threads) as pool:
            return np.stack(list(pool.map(self.maps, images)))

    def _interpreters(self) -> list[Any]:
        if not hasattr(self._mine, "interpreters"):
            self._mine.interpreters = [_open(model) for model in self._models]
        return self._mine.interpreters


def _with_output(file: Path, tensor: int) -> bytes:
    """The model, ending at `tensor`: its delegate fuses inner layers, so they cannot be read."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    model.subgraphs[0].outputs = [tensor]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _open(model: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, pixels: npt.NDArray[np.uint8]) -> F32:
    output = interpreter.get_output_details()[0]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    scale, zero = output["quantization"]
    raw = interpreter.get_tensor(output["index"]).reshape(MAP_SIDE**2, -1).astype(np.float32)
    return (raw - zero) * np.float32(scale)
