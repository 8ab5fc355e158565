"""Networks people know, with the state_dict keys of their origin, so that published weights load as they are.

Each is a function of torchvision's shape, `resnet18(weights=None, num_classes=1000)`, where weights is the path of a
safetensors file or of one that torch.save wrote.
"""

from importlib import import_module

# read at first use
_PLACES = {
    "audio": "Crepe crepe",
    "cnn": "SmallCNN small_cnn",
    "efficientnet": "EfficientNetLite efficientnet_lite0",
    "lenet5": "LeNet lenet",
    "mobilenetv2": "MobileNetV2 mobilenet_v2",
    "mobilenetv3": "MobileNetV3 mobilenet_v3_large mobilenet_v3_small",
    "resnet": "ResNet resnet18 resnet34 resnet50",
    "segmentation": "UNet unet",
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = sorted(_MODULES)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .audio import Crepe, crepe
    from .cnn import SmallCNN, small_cnn
    from .efficientnet import EfficientNetLite, efficientnet_lite0
    from .lenet5 import LeNet, lenet
    from .mobilenetv2 import MobileNetV2, mobilenet_v2
    from .mobilenetv3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
    from .resnet import ResNet, resnet18, resnet34, resnet50
    from .segmentation import UNet, unet


def __getattr__(name):
    if name in _MODULES:
        value = globals()[name] = getattr(import_module(f"pyengine.models.{_MODULES[name]}"), name)
        return value
    raise AttributeError(f"module 'pyengine.models' has no attribute {name!r}")


def __dir__():
    return __all__
