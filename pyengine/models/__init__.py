"""Networks people know, with the state_dict keys of their origin, so that published weights load as they are.

Each is a function of torchvision's shape, `resnet18(weights=None, num_classes=1000)`, where weights is the path of a
safetensors file or of one that torch.save wrote; `llama` reads GGUF, too. Decoders go on with a text by `generate`.
"""

from importlib import import_module

# read at first use
_PLACES = {
    "audio": "Crepe crepe",
    "cache": "KVCache",
    "cnn": "SmallCNN small_cnn",
    "efficientnet": "EfficientNetLite efficientnet_lite0",
    "generation": "generate generate_text stream stream_text",
    "lenet5": "LeNet lenet",
    "mobilenetv2": "MobileNetV2 mobilenet_v2",
    "mobilenetv3": "MobileNetV3 mobilenet_v3_large mobilenet_v3_small",
    "resnet": "ResNet resnet18 resnet34 resnet50",
    "sampling": "Sampler",
    "segmentation": "UNet unet",
    "sentences": "embed_texts sentence_embeddings",
    "silero": "SileroVAD silero_vad speech_probabilities",
    "transformer_bert": "Bert bert minilm",
    "transformer_gpt2": "GPT2 gpt2",
    "transformer_llama": "Llama llama",
    "transformer_t5": "T5 t5",
    "transformer_vit": "VisionTransformer vit_b_16",
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = sorted(_MODULES)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .audio import Crepe, crepe
    from .cache import KVCache
    from .cnn import SmallCNN, small_cnn
    from .efficientnet import EfficientNetLite, efficientnet_lite0
    from .generation import generate, generate_text, stream, stream_text
    from .lenet5 import LeNet, lenet
    from .mobilenetv2 import MobileNetV2, mobilenet_v2
    from .mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
    from .resnet import ResNet, resnet18, resnet34, resnet50
    from .sampling import Sampler
    from .segmentation import UNet, unet
    from .sentences import embed_texts, sentence_embeddings
    from .silero import SileroVAD, silero_vad, speech_probabilities
    from .transformer_bert import Bert, bert, minilm
    from .transformer_gpt2 import GPT2, gpt2
    from .transformer_llama import Llama, llama
    from .transformer_t5 import T5, t5
    from .transformer_vit import VisionTransformer, vit_b_16


def __getattr__(name):
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(f"pyengine.models.{_MODULES[name]}"), name)
        return value
    raise AttributeError(f"module 'pyengine.models' has no attribute {name!r}")


def __dir__():
    return __all__
